// Two blocks a register: AVX2 with VAES and VPCLMULQDQ.
#include <immintrin.h>

#include "engine/ciphers/aes_rounds_impl.h"
#include "engine/ciphers/cbc_kernel_impl.h"
#include "engine/ciphers/elephant_kernel_impl.h"
#include "engine/ciphers/vector_avx2.h"
#include "engine/ciphers/xts_kernel_impl.h"

namespace latchkey::engine::kernels {

const KernelSet kAvx2{
    .name = "avx2",
    .expand_key = expand_key,
    .invert_keys = invert_keys,
    .xts = {xts_crypt<Avx2, false>, xts_crypt<Avx2, true>},
    .cbc = {cbc_crypt<Avx2, CbcEncryption>, cbc_crypt<Avx2, CbcDecryption>},
    .elephant = {elephant_encrypt<Avx2, Avx2>, elephant_decrypt<Avx2, Avx2>},
    .aes_rounds = aes_rounds<Avx2>,
};

}  // namespace latchkey::engine::kernels
