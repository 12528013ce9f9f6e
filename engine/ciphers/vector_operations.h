// What the kernel templates ask of a vector type V of 1, 2 or 4 AES blocks. Nothing to include:
// each kernels_*.cc defines its own, in an unnamed namespace, so that no two share a function.
//
//   Reg, kBlocks                  a register and how many 16-byte blocks it holds
//   load, store                   any alignment
//   zero, exclusive_or           of two or three
//   encrypt_round, encrypt_last, decrypt_round, decrypt_last
//   round_key(p)                  16 bytes, repeated in every block
//   numbers(n, stride, mask)      block j is LE128((n + j * stride) & mask)
//   topmost_bit()                 2^127 in every block
//   clear_registers()             of every vector register, where keys and tweaks were
// for XTS:
//   spread<N>(p)                  the tweak at p, repeated: block j multiplied by x^(j + N)
//   times_x<N>(r)                 every block multiplied by x^N in GF(2^128), N < 56
// for CBC:
//   shift_in(before, r)           r moved up by a block, below it the last block of `before`
//   gather(p, stride)             block j is what lies at p + j * stride; scatter(p, stride, r):
//   back
// for the diffuser, on the 4 * kBlocks 32-bit words of a register:
//   add_words, subtract_words, rotate_words<N>(r): to the left
//   transpose(rows)               of as many registers
