// Wrapped secrets: every algorithm, every kind of KEK, and what is said when something is wrong.
// The wrapping is done by OpenSSL's encrypting half, which the reader does not use.
#include <cstdlib>

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/pkcs12.h>
#include <openssl/rsa.h>

#include "keyslots/keys/kek_file.h"
#include "keyslots/keys/openssl_ptr.h"
#include "keyslots/keys/pkcs11_kek.h"
#include "tests/keyslots/key_fixture.h"

namespace latchkey {
namespace {

using engine::Error;
using engine::ErrorCode;
using engine::SecretBytes;
using keyslots::WrapAlgorithm;
using test::base64;
using test::bytes_of;
using test::ByteVector;
using test::make_bek;
using testing::AllOf;
using testing::HasSubstr;

using Pkey = keyslots::OpensslPtr<EVP_PKEY, EVP_PKEY_free>;
using PkeyContext = keyslots::OpensslPtr<EVP_PKEY_CTX, EVP_PKEY_CTX_free>;
using Bio = keyslots::OpensslPtr<BIO, BIO_free>;

constexpr const char* kKekUrl = "https://v.vault.azure.net/keys/kek/0011";

// Making one takes up to a second under a sanitizer, so every test shares them.
EVP_PKEY* rsa(unsigned bits, bool another = false) {
  static const Pkey small(EVP_RSA_gen(2048));
  static const Pkey other(EVP_RSA_gen(2048));
  static const Pkey large(EVP_RSA_gen(3072));
  return bits == 3072 ? large.get() : another ? other.get() : small.get();
}

ByteVector wrap(EVP_PKEY* key, WrapAlgorithm algorithm, const ByteVector& content) {
  const PkeyContext context(EVP_PKEY_CTX_new(key, nullptr));
  EXPECT_GT(EVP_PKEY_encrypt_init(context.get()), 0);
  const bool pkcs1 = algorithm == WrapAlgorithm::kRsa15;
  EXPECT_GT(EVP_PKEY_CTX_set_rsa_padding(context.get(),
                                         pkcs1 ? RSA_PKCS1_PADDING : RSA_PKCS1_OAEP_PADDING),
            0);
  if (algorithm == WrapAlgorithm::kRsaOaep256) {
    EXPECT_GT(EVP_PKEY_CTX_set_rsa_oaep_md(context.get(), EVP_sha256()), 0);
  }
  ByteVector out(static_cast<std::size_t>(EVP_PKEY_get_size(key)));
  std::size_t size = out.size();
  EXPECT_GT(
      EVP_PKEY_encrypt(context.get(), reinterpret_cast<unsigned char*>(out.data()), &size,
                       reinterpret_cast<const unsigned char*>(content.data()), content.size()),
      0);
  return out;
}

ByteVector wrap_aes(const ByteVector& key, const ByteVector& content) {
  const keyslots::OpensslPtr<EVP_CIPHER_CTX, EVP_CIPHER_CTX_free> context(EVP_CIPHER_CTX_new());
  EVP_CIPHER_CTX_set_flags(context.get(), EVP_CIPHER_CTX_FLAG_WRAP_ALLOW);
  const EVP_CIPHER* cipher = key.size() == 16   ? EVP_aes_128_wrap()
                             : key.size() == 24 ? EVP_aes_192_wrap()
                                                : EVP_aes_256_wrap();
  ByteVector out(content.size() + 8);
  int size = 0;
  EXPECT_EQ(EVP_EncryptInit_ex(context.get(), cipher, nullptr,
                               reinterpret_cast<const unsigned char*>(key.data()), nullptr),
            1);
  EXPECT_EQ(EVP_EncryptUpdate(context.get(), reinterpret_cast<unsigned char*>(out.data()), &size,
                              reinterpret_cast<const unsigned char*>(content.data()),
                              static_cast<int>(content.size())),
            1);
  EXPECT_EQ(static_cast<std::size_t>(size), out.size());
  return out;
}

std::string wrapped_bundle(const ByteVector& wrapped, const std::string& algorithm,
                           const std::string& content_type = "Wrapped BEK") {
  return R"({"value":")" + base64(wrapped, true) + R"(","contentType":")" + content_type +
         R"(","id":"https://v.vault.azure.net/secrets/N/V","tags":{)"
         R"("DiskEncryptionKeyEncryptionKeyURL":")" +
         kKekUrl + R"(","DiskEncryptionKeyEncryptionAlgorithm":")" + algorithm + "\"}}";
}

std::unique_ptr<keyslots::Kek> kek_of(EVP_PKEY* key) {
  EVP_PKEY_up_ref(key);
  return keyslots::make_rsa_kek(key, "test");
}

keyslots::AskPassphrase answer(std::string text, int* asked = nullptr) {
  return [text, asked](const std::string&) -> engine::Result<SecretBytes> {
    if (asked != nullptr) ++*asked;
    return SecretBytes::copy_of(engine::as_bytes(text));
  };
}
const keyslots::AskPassphrase kNobodyToAsk = [](const std::string&) -> engine::Result<SecretBytes> {
  return Error(ErrorCode::kKeyNeeded, "nobody to ask");
};

class WrapTest : public test::KeyFiles {
 protected:
  Error refused_with(const ByteVector& wrapped, const std::string& tag, keyslots::Kek* kek) {
    return refusal(write(wrapped_bundle(wrapped, tag)), kek);
  }
  std::string write_pem(EVP_PKEY* key, const char* passphrase = nullptr) {
    const Bio memory(BIO_new(BIO_s_mem()));
    PEM_write_bio_PKCS8PrivateKey(memory.get(), key, passphrase ? EVP_aes_256_cbc() : nullptr,
                                  passphrase, passphrase ? static_cast<int>(strlen(passphrase)) : 0,
                                  nullptr, nullptr);
    return write(contents(memory.get()), "kek.pem");
  }
  static ByteVector contents(BIO* memory) {
    char* data = nullptr;
    const auto size = BIO_get_mem_data(memory, &data);
    return bytes_of({data, static_cast<std::size_t>(size)});
  }
  void expect_kek(const std::string& path, const keyslots::AskPassphrase& ask) {
    auto kek = keyslots::read_kek_file(path, ask);
    ASSERT_TRUE(kek.ok()) << kek.error().message();
    const auto wrapped = wrap(rsa(2048), WrapAlgorithm::kRsaOaep, make_bek());
    expect_bek(read(write(wrapped_bundle(wrapped, "RSA-OAEP")), kek->get()));
  }
};

TEST_F(WrapTest, EveryRsaAlgorithmWhateverTheTagSays) {
  const ByteVector small = make_bek();
  const ByteVector azure = make_bek({.text = std::string(test::kAzureBekText)});
  struct Case {
    unsigned bits;
    WrapAlgorithm algorithm;
    const ByteVector& content;
  };
  for (const Case& one :
       {Case{2048, WrapAlgorithm::kRsaOaep, azure}, Case{2048, WrapAlgorithm::kRsa15, azure},
        Case{2048, WrapAlgorithm::kRsaOaep256, small}, Case{3072, WrapAlgorithm::kRsaOaep, azure},
        Case{3072, WrapAlgorithm::kRsaOaep256, azure}, Case{3072, WrapAlgorithm::kRsa15, azure}}) {
    const auto kek = kek_of(rsa(one.bits));
    const ByteVector wrapped = wrap(rsa(one.bits), one.algorithm, one.content);
    for (const char* tag : {keyslots::name_of(one.algorithm), "RSA-OAEP", "RSA1_5", "", "new"}) {
      SCOPED_TRACE(
          fmt::format("RSA-{} {} tagged '{}'", one.bits, keyslots::name_of(one.algorithm), tag));
      const auto keys = read(write(wrapped_bundle(wrapped, tag)), kek.get());
      expect_bek(keys);
      EXPECT_THAT(keys.secrets[0].label,
                  HasSubstr(std::string("unwrapped by ") + keyslots::name_of(one.algorithm)));
    }
    // Without anything that says so: by its length, as bytes and as text.
    expect_bek_first(read(write(wrapped), kek.get()));
    expect_bek_first(read_text(base64(wrapped, true), kek.get()));
  }
}

TEST_F(WrapTest, EveryAesKeyWrap) {
  const ByteVector bek = make_bek({.text = std::string(test::kAzureBekText)});
  for (const std::size_t size : {16U, 24U, 32U}) {
    const ByteVector key = test::random_bytes(size, size);
    auto kek = keyslots::read_kek_file(write(key, "aes.key"), kNobodyToAsk);
    ASSERT_TRUE(kek.ok());
    const ByteVector wrapped = wrap_aes(key, bek);
    const std::string tag = fmt::format("A{}KW", size * 8);
    expect_bek(read(write(wrapped_bundle(wrapped, tag)), kek->get()));
    const std::string jwk = R"({"kty":"oct","k":")" + base64(key, true) + "\"}";
    auto of_jwk = keyslots::read_kek_file(write(jwk, "aes.jwk"), kNobodyToAsk);
    ASSERT_TRUE(of_jwk.ok());
    expect_bek(read(write(wrapped_bundle(wrapped, tag)), of_jwk->get()));

    ByteVector altered = wrapped;
    altered[20] ^= std::byte{1};
    EXPECT_THAT(refused_with(altered, tag, kek->get()).message(),
                AllOf(HasSubstr("does not unwrap it"), HasSubstr("altered")));
    altered.resize(altered.size() - 3);
    EXPECT_THAT(refused_with(altered, tag, kek->get()).message(), HasSubstr("cut short"));
    const auto error = refused_with(wrapped, "RSA-OAEP", kek->get());
    EXPECT_EQ(error.code(), ErrorCode::kWrongKey);
    EXPECT_THAT(error.message(), HasSubstr("wrapped by RSA-OAEP, which the AES-"));
    EXPECT_THAT(refused_with(wrapped, tag, kek_of(rsa(2048)).get()).message(),
                HasSubstr("which the RSA-2048 key"));
  }
}

TEST_F(WrapTest, EachTroubleHasItsOwnWords) {
  const ByteVector wrapped = wrap(rsa(2048), WrapAlgorithm::kRsaOaep, make_bek());
  const auto kek = kek_of(rsa(2048));
  auto error = refused_with(wrapped, "RSA-OAEP", kek_of(rsa(2048, true)).get());
  EXPECT_EQ(error.code(), ErrorCode::kWrongKey);
  EXPECT_THAT(error.message(), AllOf(HasSubstr(kKekUrl), HasSubstr("does not unwrap it"),
                                     HasSubstr("RSA-OAEP, RSA-OAEP-256, RSA1_5")));
  error = refused_with(wrapped, "RSA-OAEP", kek_of(rsa(3072)).get());
  EXPECT_THAT(error.message(), HasSubstr("wrapped with another key, of 2048 bits"));

  ByteVector cut(wrapped.begin(), wrapped.end() - 6);
  error = refused_with(cut, "RSA-OAEP", kek.get());
  EXPECT_THAT(error.message(), AllOf(HasSubstr("it has 250 bytes"), HasSubstr("cut short")));

  ByteVector altered = wrapped;
  altered[200] ^= std::byte{4};
  error = refused_with(altered, "RSA-OAEP", kek.get());
  EXPECT_THAT(error.message(), HasSubstr("or it was altered"));
  error = refused_with(altered, "RSA-OAEP-1024", kek.get());
  EXPECT_THAT(error.message(), HasSubstr("the algorithm 'RSA-OAEP-1024', which is not known"));

  std::string text = wrapped_bundle(wrapped, "RSA-OAEP");
  text[20] = '%';
  error = refusal(write(text), kek.get());
  EXPECT_THAT(error.message(), HasSubstr("does not belong into base64"));
}

// Newer libraries answer a padding that does not check with random bytes.
TEST_F(WrapTest, Rsa15IsJudgedByWhatComesOut) {
  const ByteVector noise = test::random_bytes(100, 9);
  const auto kek = kek_of(rsa(2048));
  const auto error =
      refused_with(wrap(rsa(2048), WrapAlgorithm::kRsa15, noise), "RSA1_5", kek.get());
  EXPECT_EQ(error.code(), ErrorCode::kWrongKey);
  const auto keys = read(
      write(wrapped_bundle(wrap(rsa(2048), WrapAlgorithm::kRsa15, bytes_of("passphrase")), "")),
      kek.get());
  EXPECT_THAT(readings(keys), testing::Contains("passphrase:passphrase"));
}

TEST_F(WrapTest, LinuxPassphraseWrapped) {
  const std::string passphrase = base64(test::random_bytes(127, 2));
  const auto kek = kek_of(rsa(2048));
  const auto keys = readings(
      read(write(wrapped_bundle(wrap(rsa(2048), WrapAlgorithm::kRsaOaep, bytes_of(passphrase)),
                                "RSA-OAEP")),
           kek.get()));
  ASSERT_GE(keys.size(), 3U);
  EXPECT_EQ(keys[0], "passphrase:" + passphrase);
  EXPECT_THAT(keys, testing::Contains("key-file:" + passphrase + "\n"));
}

TEST_F(WrapTest, WithoutAKekTheCallThatUnwrapsItIsGiven) {
  const ByteVector wrapped = wrap(rsa(2048), WrapAlgorithm::kRsaOaep, make_bek());
  const std::string path = write(wrapped_bundle(wrapped, "RSA-OAEP-256"));
  const auto error = refusal(path);
  EXPECT_EQ(error.code(), ErrorCode::kKeyNeeded);
  EXPECT_THAT(error.message(), HasSubstr(kKekUrl));
  EXPECT_THAT(error.hint(),
              AllOf(HasSubstr("--kek-unwrapped unwrapped.json"),
                    HasSubstr("az rest --method post --url "
                              "'https://v.vault.azure.net/keys/kek/0011/unwrapkey?api-version="),
                    HasSubstr("--resource https://vault.azure.net"),
                    HasSubstr(R"({"alg":"RSA-OAEP-256","value":")" + base64(wrapped, true))));
  // Unwrapped elsewhere, it is no trouble.
  const auto elsewhere = keyslots::read_unknown_key(path, {.done_elsewhere = true});
  ASSERT_TRUE(elsewhere.ok());
  EXPECT_TRUE(elsewhere->secrets.empty());
  // Beside one that is plain, it is told.
  const std::string plain = R"({"id":"x","value":")" + base64(make_bek()) + "\"}";
  const auto both = read_text("[" + plain + "," + wrapped_bundle(wrapped, "RSA-OAEP") + "]");
  EXPECT_EQ(both.secrets.size(), 1U);
  ASSERT_EQ(both.left_out.size(), 1U);
  EXPECT_THAT(both.left_out[0], HasSubstr(kKekUrl));
}

// A tag is written by anybody: it may not end up as a command in somebody's shell.
TEST_F(WrapTest, HostileKekUrlIsNotMadeACommand) {
  std::string bundle = wrapped_bundle(test::random_bytes(256, 4), "x'; reboot; '");
  const std::size_t at = bundle.find(kKekUrl);
  bundle.replace(at, strlen(kKekUrl), "https://v.vault.azure.net/keys/k'; reboot; '");
  const auto error = refusal(write(bundle));
  EXPECT_EQ(error.code(), ErrorCode::kKeyNeeded);
  EXPECT_THAT(error.hint(), testing::Not(HasSubstr("reboot")));
}

TEST_F(WrapTest, AnswersOfTheVault) {
  const ByteVector bek = make_bek();
  std::string numbers;
  for (const std::byte b : bek) {
    numbers += (numbers.empty() ? "" : ",") + std::to_string(std::to_integer<unsigned>(b));
  }
  const std::string kid = std::string(R"("kid":")") + kKekUrl + "\"";
  for (const std::string& text :
       {"{" + kid + R"(,"value":")" + base64(bek, true) + "\"}",
        R"({"algorithm":"RSA-OAEP",)" + kid + R"(,"result":")" + base64(bek) + "\"}",
        R"({"KeyId":")" + std::string(kKekUrl) + R"(","RawResult":[)" + numbers +
            R"(],"Algorithm":"RSA-OAEP"})"}) {
    expect_bek(read_text(text));
  }
  const auto error = refusal(write("{" + kid + R"(,"value":"Zg*"})"));
  EXPECT_EQ(error.code(), ErrorCode::kDamaged);
}

TEST_F(WrapTest, AzureBackupsWrappedSecret) {
  const auto kek = kek_of(rsa(2048));
  const std::string text =
      R"({"OsDiskKeyAndSecretDetails":{"KeyUrl":")" + std::string(kKekUrl) +
      R"(","KeyBackupData":"eA==","SecretUrl":"https://v.vault.azure.net/secrets/N/V","SecretData":")" +
      base64(wrap(rsa(2048), WrapAlgorithm::kRsaOaep, make_bek()), true) + "\"}}";
  expect_bek(read_text(text, kek.get()));
  EXPECT_THAT(refusal(write(text)).message(), HasSubstr(kKekUrl));
}

TEST_F(WrapTest, KeksInPem) {
  int asked = 0;
  expect_kek(write_pem(rsa(2048)), answer("unused", &asked));
  EXPECT_EQ(asked, 0);
  const std::string encrypted = write_pem(rsa(2048), "open sesame");
  expect_kek(encrypted, answer("open sesame", &asked));
  EXPECT_EQ(asked, 1);
  const auto wrong = keyslots::read_kek_file(encrypted, answer("nonsense"));
  ASSERT_FALSE(wrong.ok());
  EXPECT_EQ(wrong.error().code(), ErrorCode::kWrongKey);
  EXPECT_THAT(wrong.error().message(), HasSubstr("the passphrase does not open"));
  const auto unasked = keyslots::read_kek_file(encrypted, kNobodyToAsk);
  EXPECT_EQ(unasked.error().message(), "nobody to ask");

  const Bio memory(BIO_new(BIO_s_mem()));
  PEM_write_bio_PUBKEY(memory.get(), rsa(2048));
  const auto half = keyslots::read_kek_file(write(contents(memory.get()), "pub"), kNobodyToAsk);
  EXPECT_EQ(half.error().code(), ErrorCode::kUsage);
  EXPECT_THAT(half.error().message(), HasSubstr("only the public part"));
  const auto none = keyslots::read_kek_file(write("nothing of the kind", "x"), kNobodyToAsk);
  EXPECT_THAT(none.error().message(), HasSubstr("no private key"));
}

TEST_F(WrapTest, KeksInDerAndPkcs12) {
  const Bio der(BIO_new(BIO_s_mem()));
  i2d_PrivateKey_bio(der.get(), rsa(2048));
  expect_kek(write(contents(der.get()), "kek.der"), kNobodyToAsk);
  for (const char* passphrase : {"", "open sesame"}) {
    const keyslots::OpensslPtr<PKCS12, PKCS12_free> file(
        PKCS12_create(passphrase, "kek", rsa(2048), nullptr, nullptr, 0, 0, 0, 0, 0));
    const Bio p12(BIO_new(BIO_s_mem()));
    i2d_PKCS12_bio(p12.get(), file.get());
    const std::string path = write(contents(p12.get()), "kek.pfx");
    expect_kek(path, *passphrase == '\0' ? kNobodyToAsk : answer(passphrase));
    if (*passphrase == '\0') continue;
    const auto wrong = keyslots::read_kek_file(path, answer("nonsense"));
    ASSERT_FALSE(wrong.ok());
    EXPECT_THAT(wrong.error().message(), HasSubstr("the passphrase does not open"));
  }
}

TEST_F(WrapTest, KeksInJwk) {
  std::string members;
  const auto add = [&](const char* name, const char* parameter) {
    BIGNUM* number = nullptr;
    ASSERT_EQ(EVP_PKEY_get_bn_param(rsa(2048), parameter, &number), 1);
    ByteVector bytes(static_cast<std::size_t>(BN_num_bytes(number)));
    BN_bn2bin(number, reinterpret_cast<unsigned char*>(bytes.data()));
    BN_free(number);
    members += fmt::format(",\"{}\":\"{}\"", name, base64(bytes, true));
  };
  add("n", OSSL_PKEY_PARAM_RSA_N);
  add("e", OSSL_PKEY_PARAM_RSA_E);
  const std::string head = R"({"kty":"RSA","kid":"x")";
  const auto half =
      keyslots::read_kek_file(write(R"({"key":)" + head + members + "}}", "pub.jwk"), kNobodyToAsk);
  EXPECT_THAT(half.error().message(), HasSubstr("only the public part"));
  EXPECT_THAT(half.error().hint(), HasSubstr("--kek-unwrapped"));
  add("d", OSSL_PKEY_PARAM_RSA_D);
  expect_kek(write(head + members + "}", "short.jwk"), kNobodyToAsk);
  add("p", OSSL_PKEY_PARAM_RSA_FACTOR1);
  add("q", OSSL_PKEY_PARAM_RSA_FACTOR2);
  add("dp", OSSL_PKEY_PARAM_RSA_EXPONENT1);
  add("dq", OSSL_PKEY_PARAM_RSA_EXPONENT2);
  add("qi", OSSL_PKEY_PARAM_RSA_COEFFICIENT1);
  expect_kek(write(head + members + "}", "full.jwk"), kNobodyToAsk);
  const auto damaged =
      keyslots::read_kek_file(write(head + R"(,"d":"!!"})", "bad.jwk"), kNobodyToAsk);
  EXPECT_EQ(damaged.error().code(), ErrorCode::kDamaged);
}

class HsmTest : public WrapTest {
 protected:
  void SetUp() override {
    key_path_ = write_pem(rsa(3072));
    log_path_ = (dir_ / "log").string();
    setenv("LATCHKEY_MOCK_KEY", key_path_.c_str(), 1);
    setenv("LATCHKEY_MOCK_LOG", log_path_.c_str(), 1);
  }
  engine::Result<std::unique_ptr<keyslots::Kek>> open(const std::string& path,
                                                      const std::string& pin = "4321") {
    return keyslots::open_pkcs11_kek("pkcs11:" + path + "?module-path=" LATCHKEY_MOCK_PKCS11,
                                     answer(pin));
  }
  std::string key_path_;
  std::string log_path_;
};

TEST_F(HsmTest, EveryAlgorithmWithTheParametersItTakes) {
  auto kek = open("token=mock;object=kek");
  ASSERT_TRUE(kek.ok()) << kek.error().message();
  for (const auto algorithm :
       {WrapAlgorithm::kRsaOaep256, WrapAlgorithm::kRsaOaep, WrapAlgorithm::kRsa15}) {
    const ByteVector wrapped = wrap(rsa(3072), algorithm, make_bek());
    expect_bek(read(write(wrapped_bundle(wrapped, keyslots::name_of(algorithm))), kek->get()));
  }
  EXPECT_EQ(test::text_of(test::read_file(log_path_)), "OAEP-SHA256\nOAEP-SHA1\nPKCS1\n");
  const auto error = refused_with(test::random_bytes(384, 6), "RSA-OAEP", kek->get());
  EXPECT_EQ(error.code(), ErrorCode::kWrongKey);
  EXPECT_THAT(error.message(), HasSubstr("RSA-3072 key in token mock does not unwrap it"));
}

TEST_F(HsmTest, WhatIsWrongWithTheUriOrThePin) {
  EXPECT_EQ(open("token=mock;object=kek", "1234").error().code(), ErrorCode::kWrongKey);
  EXPECT_THAT(open("token=mock;object=kek", "1234").error().message(), HasSubstr("PIN"));
  EXPECT_THAT(open("token=other").error().message(), HasSubstr("no token matches"));
  EXPECT_THAT(open("token=mock;object=other").error().message(), HasSubstr("no private key"));
  const auto in_uri = keyslots::open_pkcs11_kek("pkcs11:token=mock?pin-value=4321", kNobodyToAsk);
  EXPECT_EQ(in_uri.error().code(), ErrorCode::kUsage);
  EXPECT_THAT(in_uri.error().hint(), HasSubstr("--pin-file"));
  EXPECT_THAT(keyslots::open_pkcs11_kek("pkcs11:nonsense", kNobodyToAsk).error().message(),
              HasSubstr("no PKCS#11 URI"));
  EXPECT_THAT(
      keyslots::open_pkcs11_kek("pkcs11:?module-path=/nowhere.so", kNobodyToAsk).error().message(),
      HasSubstr("cannot load the PKCS#11 module"));
}

}  // namespace
}  // namespace latchkey
