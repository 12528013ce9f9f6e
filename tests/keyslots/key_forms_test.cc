// What `--key FILE` makes of BEKs, vault secrets, texts and folders that are not wrapped, and what
// it says of those it cannot use. Expected values are made here, from the layouts, not read back.
#include "keyslots/key_ring.h"
#include "keyslots/keys/base64.h"
#include "keyslots/keys/bek_file.h"
#include "keyslots/keys/recovery_password.h"
#include "keyslots/keys/secret_text.h"
#include "keyslots/keys/times.h"
#include "keyslots/keys/vault_url.h"
#include "tests/keyslots/key_fixture.h"

namespace latchkey {
namespace {

using engine::ErrorCode;
using keyslots::SecretKind;
using test::base64;
using test::BekShape;
using test::bytes_of;
using test::ByteVector;
using test::make_bek;
using test::text_of;
using testing::ElementsAre;
using testing::HasSubstr;

using BekTest = test::KeyFiles;
using VaultTest = test::KeyFiles;
using TextTest = test::KeyFiles;

const std::string kAzureText(test::kAzureBekText);

TEST_F(BekTest, EverySizeThereIs) {
  struct Case {
    std::size_t bytes;
    BekShape shape;
  };
  for (const Case& one :
       {Case{156, {}}, Case{180, {.volume_guid = true}}, Case{200, {.text = kAzureText}},
        Case{224, {.text = kAzureText, .volume_guid = true}}}) {
    SCOPED_TRACE(one.bytes);
    const ByteVector file = make_bek(one.shape);
    ASSERT_EQ(file.size(), one.bytes);
    const auto bek = keyslots::parse_bek(file);
    ASSERT_TRUE(bek.ok()) << bek.error().message();
    EXPECT_TRUE(bek->key.equals(test::test_bek_key()));
    EXPECT_EQ(bek->protector_id, test::kTestProtector);
    EXPECT_EQ(bek->volume_id, one.shape.volume_guid ? test::kTestVolume : "");
    EXPECT_EQ(bek->created, "2025-09-13 14:00:16");
    EXPECT_EQ(bek->description, one.shape.text);
    expect_bek(read(write(file)));
    expect_bek(read_text(base64(file)));
    expect_bek(read_text(base64(file, true) + "\r\n"));
    expect_bek(read_text("  \"" + base64(file) + "\"\n"));
    expect_bek(read(write(test::utf16_file(base64(file), false))));
  }
}

TEST_F(BekTest, LinesOfBase64FromAnEmail) {
  std::string lines = base64(make_bek());
  for (std::size_t at = 64; at < lines.size(); at += 66) lines.insert(at, "\r\n");
  expect_bek(read_text(lines));
}

TEST_F(BekTest, WhatContradictsItselfIsNamed) {
  struct Case {
    const char* what;
    std::size_t at;
    std::uint16_t value;
    const char* message;
  };
  // Offsets of a 156-byte file: header 0, external key 48, text 80, key 112.
  for (const Case& one :
       {Case{"size", 0, 600, "gives two sizes"}, Case{"outer size", 48, 109, "109 bytes where 108"},
        Case{"outer too small", 48, 4, "4 bytes where"},
        Case{"outer type", 52, 7, "no external key"}, Case{"role", 50, 7, "no external key"},
        Case{"text size", 80, 200, "200 bytes where 76"},
        Case{"key size", 112, 43, "key entry has 35 bytes"},
        Case{"key type", 116, 2, "holds no key"}, Case{"method", 120, 0x2003, "0x2003"}}) {
    SCOPED_TRACE(one.what);
    ByteVector file = make_bek();
    engine::store_le<std::uint16_t>(file, one.at, one.value);
    const auto bek = keyslots::parse_bek(file);
    ASSERT_FALSE(bek.ok());
    EXPECT_EQ(bek.error().code(), ErrorCode::kDamaged);
    EXPECT_THAT(bek.error().message(), HasSubstr(one.message));
  }
}

TEST_F(BekTest, CutShortAnywhere) {
  const ByteVector file = make_bek();
  for (std::size_t size = 0; size < file.size(); ++size) {
    const engine::Bytes part(file.data(), size);
    EXPECT_FALSE(keyslots::parse_bek(part).ok()) << size;
  }
  ByteVector part(file.begin(), file.end() - 10);
  const auto error = refusal(write(part));
  EXPECT_EQ(error.code(), ErrorCode::kDamaged);
  EXPECT_THAT(error.message(), HasSubstr("cut short: its header says 156 bytes, 146 are here"));
  part = file;
  part.resize(512);  // a sector of a FAT file system behind it
  expect_bek(read(write(part)));
  part[200] = std::byte{1};
  EXPECT_FALSE(keyslots::parse_bek(part).ok());
}

TEST_F(BekTest, FolderGivesAllOfThem) {
  write(make_bek(), std::string(test::kTestProtector) + ".BEK");
  write(make_bek({.first_key_byte = std::byte{0x60}}), "other.bek");
  write("not a key", "readme.txt");
  write("secret text", "LinuxPassPhraseFileName_1_0");
  write("BEK", "damaged.BEK");
  const auto keys = read(dir_.path().string());
  std::vector<SecretKind> kinds;
  for (const auto& secret : keys.secrets) kinds.push_back(secret.kind);
  EXPECT_EQ(std::count(kinds.begin(), kinds.end(), SecretKind::kExternalKey), 2);
  EXPECT_THAT(readings(keys), testing::Contains("passphrase:secret text"));
  EXPECT_THAT(readings(keys), testing::Not(testing::Contains("passphrase:not a key")));
  EXPECT_THAT(keys.left_out, ElementsAre(HasSubstr("damaged.BEK' is no BEK file")));
  test::TempDir empty;
  EXPECT_THAT(refusal(empty.path().string()).message(), HasSubstr("no .BEK file"));
}

TEST_F(BekTest, MatchingOneIsTriedFirst) {
  keyslots::FixedSecrets secrets;
  for (const char* id : {"A", "B", "C"}) {
    secrets.add({SecretKind::kExternalKey, engine::SecretBytes::copy_of(bytes_of(id)), id, id});
  }
  keyslots::KeyRing ring;
  ring.add(std::make_unique<keyslots::FixedSecrets>(std::move(secrets)));
  keyslots::Protector protector;
  protector.takes = {SecretKind::kExternalKey};
  protector.id = "B";
  const auto order = ring.candidates(protector);
  ASSERT_TRUE(order.ok());
  std::string labels;
  for (const auto* secret : *order) labels += secret->label;
  EXPECT_EQ(labels, "BAC");
}

std::string rest_bundle(const std::string& value, const std::string& content_type,
                        const std::string& created = "1588096321", const std::string& tags = "{}") {
  return R"({"value":")" + value + R"(","contentType":")" + content_type +
         R"(","id":"https://v.vault.azure.net/secrets/)" + std::string(test::kTestProtector) +
         R"(/0123456789abcdef","attributes":{"enabled":true,"created":)" + created +
         R"(,"recoveryLevel":"Recoverable+Purgeable"},"tags":)" + tags + "}";
}

TEST_F(VaultTest, EveryClientsForm) {
  const std::string value = base64(make_bek({.text = kAzureText}));
  const std::string az =
      R"({"attributes":{"created":"2025-09-13T14:00:16+00:00","expires":null},"contentType":"BEK",)"
      R"("id":"https://v.vault.azure.net/secrets/N/V","kid":null,"managed":null,"name":"N","tags":)"
      R"({"DiskEncryptionKeyFileName":"x.BEK","MachineName":"vm1"},"value":")" +
      value + "\"}\n";
  // Windows PowerShell 5.1 with AzureRM or Az 4.
  const std::string power_shell =
      R"({"SecretValue":{"Length":268},"SecretValueText":")" + value +
      R"(","Attributes":{"Enabled":true,"Created":"\/Date(1588096321000)\/","ContentType":"BEK",)"
      R"("Tags":{"VolumeLetter":"C:\\"}},"VaultName":"v","Name":"N",)"
      R"("Id":"https://v.vault.azure.net:443/secrets/N/V"})";
  for (const std::string& json : {rest_bundle(value, "BEK"), az, power_shell, "[" + az + "]",
                                  R"({"value":[)" + az + R"(],"Count":1})"}) {
    SCOPED_TRACE(json);
    expect_bek(read_text(json));
    expect_bek(read_text("\xef\xbb\xbf" + json));
    expect_bek(read(write(test::utf16_file(json, false))));
    expect_bek(read(write(test::utf16_file(json, true))));
  }
}

TEST_F(VaultTest, NewestOfAListComesFirst) {
  const auto bundle = [](unsigned char first, const char* created) {
    return rest_bundle(base64(make_bek({.first_key_byte = std::byte{first}})), "BEK", created);
  };
  const auto keys = read_text("[" + bundle(0x10, "100") + "," + bundle(0x30, "300") + "," +
                              bundle(0x20, "\"1970-01-01T00:03:20Z\"") + "]");
  ASSERT_EQ(keys.secrets.size(), 3U);
  EXPECT_TRUE(keys.secrets[0].bytes.equals(test::test_bek_key(std::byte{0x30})));
  EXPECT_TRUE(keys.secrets[1].bytes.equals(test::test_bek_key(std::byte{0x20})));
  EXPECT_TRUE(keys.secrets[2].bytes.equals(test::test_bek_key(std::byte{0x10})));
}

TEST_F(VaultTest, AlgorithmTagAloneDoesNotMakeItWrapped) {
  const std::string tags = R"({"DiskEncryptionKeyEncryptionAlgorithm":"RSA-OAEP"})";
  expect_bek(read_text(rest_bundle(base64(make_bek()), "", "1", tags)));
  // Nor does anything, where the bytes are a whole BEK.
  const std::string kek =
      R"({"DiskEncryptionKeyEncryptionKeyURL":"https://v.vault.azure.net/keys/k/1"})";
  expect_bek(read_text(rest_bundle(base64(make_bek()), "Wrapped BEK", "1", kek)));
}

TEST_F(VaultTest, ARecoveryPasswordMayBeBase64Too) {
  const std::string password = "042647-302313-590458-071500-554323-116567-412181-516978";
  ASSERT_TRUE(keyslots::decode_base64_secret(engine::as_bytes(password)).ok());
  const auto read =
      read_text(R"({"value":")" + password + R"(","id":"https://v.vault.azure.net/secrets/N/1"})");
  ASSERT_FALSE(read.secrets.empty());
  EXPECT_EQ(read.secrets[0].kind, SecretKind::kRecoveryPassword);
  EXPECT_TRUE(read.secrets[0].bytes.equals(engine::as_bytes(password)));
}

// What its tags say is no reason to show it to anybody, or to send it to a vault.
TEST_F(VaultTest, WhatIsNoCiphertextIsNotGivenAwayAsOne) {
  const std::string kek =
      R"({"DiskEncryptionKeyEncryptionKeyURL":"https://v.vault.azure.net/keys/k/1"})";
  const std::string passphrase = base64(test::random_bytes(127, 1));
  for (const char* type : {"Wrapped BEK", ""}) {
    EXPECT_THAT(readings(read_text(rest_bundle(base64(passphrase), type, "1", kek))),
                testing::Contains("passphrase:" + passphrase))
        << type;
  }
  const std::string odd = base64(test::random_bytes(41, 2));
  const auto error = refusal(write(rest_bundle(odd, "Wrapped BEK", "1", kek)));
  EXPECT_EQ(error.code(), ErrorCode::kKeyNeeded);
  EXPECT_THAT(error.hint(), testing::Not(HasSubstr(odd.substr(0, 12))));
  EXPECT_THAT(error.hint(), testing::Not(HasSubstr("unwrapkey")));
}

TEST_F(VaultTest, LinuxPassphraseInItsReadings) {
  const std::string passphrase = base64(test::random_bytes(127, 1));
  ASSERT_EQ(passphrase.size(), 172U);
  const std::string value = base64(passphrase);
  const std::string linux = R"({"value":")" + value +
                            R"(","contentType":"BEK","id":"https://v.vault.azure.net/secrets/N/V",)"
                            R"("tags":{"DiskEncryptionKeyFileName":"LinuxPassPhraseFileName"}})";
  const auto of_secret = readings(read_text(linux));
  ASSERT_GE(of_secret.size(), 5U);
  EXPECT_LE(of_secret.size(), keyslots::kMaxReadings);
  EXPECT_EQ(of_secret[0], "passphrase:" + passphrase);
  EXPECT_EQ(of_secret[1], "key-file:" + text_of(test::random_bytes(127, 1)));
  EXPECT_EQ(of_secret[2], "passphrase:" + value);
  EXPECT_EQ(of_secret[3], "key-file:" + passphrase + "\n");
  EXPECT_EQ(of_secret[4], "key-file:" + value + "\n");

  // The bare value, and the file from the BEK VOLUME.
  EXPECT_THAT(readings(read_text(value)), testing::Contains("passphrase:" + passphrase));
  const auto of_file = readings(read_text(passphrase));
  EXPECT_EQ(of_file[0], "passphrase:" + passphrase);
  EXPECT_THAT(of_file, testing::Contains("key-file:" + passphrase + "\n"));
}

TEST_F(VaultTest, DamageHasItsOwnWords) {
  const std::string whole = base64(make_bek());
  std::string altered = whole;
  altered[100] = '!';
  auto error = refusal(write(rest_bundle(altered, "BEK")));
  EXPECT_EQ(error.code(), ErrorCode::kDamaged);
  EXPECT_THAT(error.message(), HasSubstr("character 101 does not belong into base64"));

  error = refusal(write(rest_bundle(whole.substr(0, 101), "BEK")));
  EXPECT_THAT(error.message(), HasSubstr("cut short"));
  error = refusal(write(rest_bundle(whole.substr(0, 100), "BEK")));
  EXPECT_THAT(error.message(), HasSubstr("its header says 156 bytes, 75 are here"));
  error = refusal(write(rest_bundle(base64(test::random_bytes(156, 3)), "BEK")));
  EXPECT_THAT(error.message(), HasSubstr("its 156 bytes are none"));

  const std::string json = rest_bundle(whole, "BEK");
  error = refusal(write(json.substr(0, json.size() / 2)));
  EXPECT_EQ(error.code(), ErrorCode::kDamaged);
  EXPECT_THAT(error.message(), HasSubstr("not whole JSON"));
}

TEST_F(VaultTest, WhatHoldsNoKeyIsExplained) {
  auto error =
      refusal(write(R"({"SecretValue":{"Length":268},"Name":"N","Id":"https://v/secrets/N/V"})"));
  EXPECT_EQ(error.code(), ErrorCode::kUsage);
  EXPECT_THAT(error.message(), HasSubstr("SecureString"));
  EXPECT_THAT(error.hint(), HasSubstr("-AsPlainText"));

  error = refusal(write(R"([{"id":"https://v.vault.azure.net/secrets/N","attributes":{}}])"));
  EXPECT_THAT(error.message(), HasSubstr("without their values"));

  error = refusal(write(R"({"error":{"code":"Forbidden","message":"no get permission"}})"));
  EXPECT_THAT(error.message(), HasSubstr("refusal of the vault, not a secret: no get permission"));

  const std::string blob = "&AzureKeyVaultKeyBackupV1.microsoft.comeyJraWQiOiJ4In0.abc.def";
  for (const std::string& form : {blob, base64(blob), R"({"value":")" + base64(blob) + "\"}"}) {
    error = refusal(write(form));
    EXPECT_EQ(error.code(), ErrorCode::kNotSupported);
    EXPECT_THAT(error.message(), HasSubstr("backup of a Key Vault key"));
    EXPECT_THAT(error.hint(), HasSubstr("az keyvault key restore"));
  }
}

TEST_F(VaultTest, AzureBackupsConfiguration) {
  const auto disk = [](std::byte first) {
    return R"({"SecretUrl":"https://v.vault.azure.net/secrets/N/V","SecretData":")" +
           base64(make_bek({.first_key_byte = first})) + R"(","KeyUrl":"","KeyBackupData":""})";
  };
  const auto keys = read_text(R"({"OsDiskKeyAndSecretDetails":)" + disk(std::byte{0x10}) +
                              R"(,"DataDiskKeyAndSecretDetails":[{"Lun":0,"Details":)" +
                              disk(std::byte{0x20}) + "}]}");
  ASSERT_EQ(keys.secrets.size(), 2U);
  EXPECT_FALSE(keys.secrets[0].bytes.equals(keys.secrets[1].bytes.span()));
  const auto error = refusal(write(
      R"({"OsDiskKeyAndSecretDetails":{"SecretUrl":"u","SecretData":null,"KeyVaultSecretBackupData":"eA=="}})"));
  EXPECT_THAT(error.message(), HasSubstr("only Key Vault can read"));
  EXPECT_THAT(error.hint(), HasSubstr("az keyvault secret restore"));
}

TEST_F(TextTest, RecoveryPasswords) {
  const std::string password = "363770-230505-096371-652674-567006-579150-291038-408111";
  std::string joined = password;
  joined.erase(std::remove(joined.begin(), joined.end(), '-'), joined.end());
  std::string blanks = password;
  std::replace(blanks.begin(), blanks.end(), '-', ' ');
  for (const std::string& text : {password, joined, blanks, " " + password + "\r\n"}) {
    const auto keys = readings(read_text(text));
    ASSERT_FALSE(keys.empty());
    EXPECT_EQ(keys[0], "recovery:" + password) << text;
    EXPECT_THAT(keys, testing::Contains("passphrase:" + text.substr(0, text.find('\r'))));
  }
  for (const std::string& text :
       {password + "1", "1" + password, password.substr(1), std::string(47, '1')}) {
    for (const std::string& reading : readings(read_text(text))) {
      EXPECT_THAT(reading, testing::Not(testing::StartsWith("recovery:"))) << text;
    }
  }
}

TEST_F(TextTest, WindowsOwnRecoveryFile) {
  const std::string text =
      "BitLocker Drive Encryption recovery key \r\n\r\nIdentifier:\r\n\r\n"
      "\t9e2f3a10-1111-2222-3333-444455556666\r\n\r\nRecovery Key:\r\n\r\n"
      "\t363770-230505-096371-652674-567006-579150-291038-408111\r\n\r\n";
  const auto keys = read(write(test::utf16_file(text, false)));
  ASSERT_FALSE(keys.secrets.empty());
  EXPECT_EQ(keys.secrets[0].kind, SecretKind::kRecoveryPassword);
  EXPECT_EQ(keys.secrets[0].protector_id, "9E2F3A10-1111-2222-3333-444455556666");
}

TEST_F(TextTest, PassphrasesAndKeyFiles) {
  EXPECT_THAT(readings(read_text("anaconda\n")),
              ElementsAre("passphrase:anaconda", "key-file:anaconda\n"));
  EXPECT_THAT(readings(read_text("anaconda")),
              ElementsAre("passphrase:anaconda", "key-file:anaconda"));
  // Bytes that are no text are no passphrase: BitLocker would refuse them as one.
  EXPECT_THAT(readings(read(write(test::from_hex("ff00fe0a")))),
              ElementsAre("key-file:" + text_of(test::from_hex("ff00fe0a"))));
  EXPECT_THAT(readings(read_text("{\"a\": 1}")), testing::Contains("key-file:{\"a\": 1}"));
}

TEST_F(TextTest, RawKeys) {
  const ByteVector key = test::random_bytes(32, 5);
  std::string hex;
  for (const std::byte b : key) hex += fmt::format("{:02X}", std::to_integer<unsigned>(b));
  EXPECT_EQ(readings(read_text(hex + "\n"))[0], "raw:" + text_of(key));
  EXPECT_EQ(readings(read(write(key)))[0], "raw:" + text_of(key));
  EXPECT_THAT(readings(read(write(key))), testing::Contains("key-file:" + text_of(key)));
  const ByteVector fvek = test::random_bytes(66, 6);  // with its method before it
  EXPECT_EQ(readings(read(write(fvek)))[0], "raw:" + text_of(fvek));
}

TEST_F(TextTest, TypedRecoveryPasswordIsBoth) {
  const auto typed = [](std::string_view text) {
    return keyslots::passphrase_readings({SecretKind::kPassphrase,
                                          engine::SecretBytes::copy_of(engine::as_bytes(text)),
                                          "passphrase"});
  };
  const std::string_view printed = "363770-230505-096371-652674-567006-579150-291038-408111";
  const auto both = typed(printed);
  ASSERT_EQ(both.size(), 2U);
  EXPECT_EQ(both[0].kind, SecretKind::kRecoveryPassword);
  EXPECT_EQ(both[0].label, "recovery password");
  EXPECT_EQ(both[1].kind, SecretKind::kPassphrase);
  // Without its dashes it may be the recovery passphrase of a LUKS volume, printed with them.
  const auto bare = typed("363770230505096371652674567006579150291038408111");
  ASSERT_EQ(bare.size(), 3U);
  EXPECT_EQ(bare[1].kind, SecretKind::kPassphrase);
  EXPECT_TRUE(bare[1].bytes.equals(engine::as_bytes(printed)));
  EXPECT_EQ(bare[2].kind, SecretKind::kPassphrase);
  EXPECT_EQ(typed("anaconda").size(), 1U);
}

TEST(RecoveryPasswordTest, DashesOfWordProcessorsAndLines) {
  const std::string groups[] = {"000011", "000022", "000033", "000044",
                                "000055", "000066", "000077", "000088"};
  for (const char* between : {"-", " ", " - ", "\n", "\r\n", "\u2013", "\u00a0", " \u2014 "}) {
    std::string text;
    for (const std::string& group : groups) text += (text.empty() ? "" : between) + group;
    const auto found = keyslots::find_recovery_passwords(engine::as_bytes(text));
    ASSERT_EQ(found.size(), 1U) << text;
    EXPECT_EQ(keyslots::as_text(found[0].digits.span()),
              "000011-000022-000033-000044-000055-000066-000077-000088");
    EXPECT_EQ(keyslots::slip_in_recovery_password(engine::as_bytes(text)), "");
  }
}

TEST(RecoveryPasswordTest, SlipsAreNamed) {
  const auto slip = [](std::string_view text) {
    return keyslots::slip_in_recovery_password(engine::as_bytes(text));
  };
  EXPECT_EQ(slip("000011-000022-000033-000044-000055-000066-000077-00088"),
            "group 8 has 5 digits, not 6");
  EXPECT_EQ(slip("000011-000022-000034-000044-000055-000066-000077-000088\n"),
            "group 3 was mistyped: it is not a multiple of 11");
  EXPECT_EQ(slip("000011-000022-000033-00004O-000055-000066-000077-000088"),
            "group 4 has something else in it than digits");
  EXPECT_EQ(slip("000011-000022-000033-000044-000055-000066-000077"),
            "it has 7 groups of digits, not 8");
  EXPECT_EQ(slip("00001100002200003300004400005500006600007700008"), "it has 47 digits, not 48");
  EXPECT_EQ(slip("000011000022000033000044000055000066000077000088x"),
            "it has something else in it than digits");
  EXPECT_EQ(slip("000011000022000033000044000055000066000077000088"), "");
  EXPECT_EQ(slip("000011000022000033000045000055000066000077000088"),
            "group 4 was mistyped: it is not a multiple of 11");
  for (const char* other : {"", "correct horse battery staple", "12345678", "2025-09-13 14:00:16",
                            "0f1e2d3c4b5a69788796a5b4c3d2e1f00f1e2d3c4b5a69788796a5b4c3d2e1f0"}) {
    EXPECT_EQ(slip(other), "") << other;
  }
}

TEST_F(TextTest, DescriptionsNeverShowTheKey) {
  const std::string value = base64(make_bek());
  const std::string json = rest_bundle(value, "BEK", "1588096321", R"({"MachineName":"vm1"})");
  for (const ByteVector& file : {make_bek(), bytes_of(value), bytes_of(json)}) {
    const auto about = keyslots::describe_key(write(file));
    ASSERT_TRUE(about.ok());
    ASSERT_EQ(about->size(), 1U);
    std::string all = about->front().what;
    for (const auto& [name, text] : about->front().facts) all += fmt::format("\n{} {}", name, text);
    EXPECT_THAT(all, HasSubstr("protector " + std::string(test::kTestProtector)));
    EXPECT_THAT(all, HasSubstr("key created 2025-09-13 14:00:16"));
    EXPECT_THAT(all, testing::Not(HasSubstr(value.substr(160, 20))));
    EXPECT_THAT(all, testing::Not(HasSubstr("404142")));
    EXPECT_FALSE(about->front().wrapped);
  }
}

TEST(Base64SecretTest, BothAlphabetsAndWhatIsWrong) {
  const auto decode = [](std::string_view text) {
    return keyslots::decode_base64_secret(engine::as_bytes(text));
  };
  EXPECT_TRUE(decode("-_+/")->equals(test::from_hex("fbffbf")));
  EXPECT_TRUE(decode("Zg==")->equals(bytes_of("f")));
  EXPECT_TRUE(decode("Z g\r\n")->equals(bytes_of("f")));
  EXPECT_TRUE(decode("")->empty());
  for (const char* bad : {"Z", "Zm9vY", "Zh", "Zg=", "Zg===", "Zg==Zg==", "=Zg", "Z*9v"}) {
    EXPECT_FALSE(decode(bad).ok()) << bad;
  }
}

TEST(TimesTest, EveryWriting) {
  EXPECT_EQ(keyslots::parse_time("2025-09-13T14:00:16+00:00"), 1757772016);
  EXPECT_EQ(keyslots::parse_time("2025-09-13T16:00:16.123+02:00"), 1757772016);
  EXPECT_EQ(keyslots::parse_time("2025-09-13T09:30:16-0430"), 1757772016);
  EXPECT_EQ(keyslots::parse_time("2025-09-13 14:00:16Z"), 1757772016);
  EXPECT_EQ(keyslots::parse_time("/Date(1757772016000)/"), 1757772016);
  EXPECT_EQ(keyslots::parse_time("1757772016"), 1757772016);
  EXPECT_EQ(keyslots::time_text(1757772016), "2025-09-13 14:00:16");
  EXPECT_EQ(keyslots::time_text(-1), "1969-12-31 23:59:59");
  for (const char* bad : {"", "2025-", "2025-13-01T00:00:00", "2025-02-30T00:00:00", "yesterday",
                          "/Date()/", "2025-09-13T25:00:00", "9999999999999999999999"}) {
    EXPECT_FALSE(keyslots::parse_time(bad).has_value()) << bad;
  }
  EXPECT_EQ(keyslots::time_text(INT64_MAX), "");
}

TEST(VaultUrlTest, OnlyWhatAVaultHas) {
  const auto url =
      keyslots::parse_vault_url("https://V.vault.azure.net:443/secrets/N/1?api-version=7");
  ASSERT_TRUE(url.has_value());
  EXPECT_EQ(url->text(), "https://v.vault.azure.net/secrets/N/1");
  EXPECT_EQ(url->domain(), "vault.azure.net");
  EXPECT_EQ(keyslots::token_resource(*url), "https://vault.azure.net");
  EXPECT_EQ(keyslots::token_resource(*keyslots::parse_vault_url("https://v.vault.azure.cn/keys/k")),
            "https://vault.azure.cn");
  for (const char* bad :
       {"", "ftp://v/secrets/N", "https://v/secrets", "https://v/certificates/N",
        "https://v/secrets/N/1/2", "https://u@v/secrets/N", "https://v/secrets/N'; rm -rf",
        "https://v:x/secrets/N", "https:///secrets/N", "https://v/secrets/../keys"}) {
    EXPECT_FALSE(keyslots::parse_vault_url(bad).has_value()) << bad;
  }
}

}  // namespace
}  // namespace latchkey
