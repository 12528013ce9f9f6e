#include "keyslots/keys/pkcs11_kek.h"

#include <algorithm>
#include <array>
#include <vector>

#include <fmt/format.h>
#include <p11-kit/p11-kit.h>
#include <p11-kit/uri.h>

namespace latchkey::keyslots {

using engine::Bytes;
using engine::Error;
using engine::ErrorCode;
using engine::Result;
using engine::SecretBytes;

namespace {

struct FreeUri {
  void operator()(P11KitUri* uri) const noexcept { p11_kit_uri_free(uri); }
};
using UriPtr = std::unique_ptr<P11KitUri, FreeUri>;

std::string reason(CK_RV code) {
  return fmt::format("{} ({:#x})", p11_kit_strerror(code), code);
}

// "My token   ", padded and without an end, as PKCS#11 keeps names.
std::string padded_text(const unsigned char* field, std::size_t size) {
  while (size > 0 && (field[size - 1] == ' ' || field[size - 1] == 0)) --size;
  return engine::printable({reinterpret_cast<const char*>(field), size});
}

Result<UriPtr> parse_uri(const std::string& text) {
  UriPtr uri(p11_kit_uri_new());
  if (const int failed = p11_kit_uri_parse(text.c_str(), P11_KIT_URI_FOR_ANY, uri.get());
      failed != P11_KIT_URI_OK) {
    return Error(ErrorCode::kUsage,
                 fmt::format("it is no PKCS#11 URI: {}", p11_kit_uri_message(failed)))
        .with_hint(
            "it looks like 'pkcs11:token=NAME;object=NAME'; p11tool --list-all and "
            "pkcs11-tool -O show the names");
  }
  if (p11_kit_uri_get_pin_value(uri.get()) != nullptr ||
      p11_kit_uri_get_pin_source(uri.get()) != nullptr) {
    return Error(ErrorCode::kUsage, "the PIN may not be in the URI, where every user can see it")
        .with_hint("--pin-file FILE, or leave it out to be asked");
  }
  if (p11_kit_uri_any_unrecognized(uri.get()) != 0) {
    return Error(ErrorCode::kUsage, "a part of the PKCS#11 URI is not known");
  }
  return uri;
}

// The modules that are asked, loaded and initialized while this lives.
class Modules {
 public:
  static Result<Modules> load(P11KitUri* uri) {
    Modules modules;
    if (const char* path = p11_kit_uri_get_module_path(uri)) {
      CK_FUNCTION_LIST* module = p11_kit_module_load(path, 0);
      if (module == nullptr) {
        return Error(ErrorCode::kSystem,
                     fmt::format("cannot load the PKCS#11 module {}", engine::printable(path)));
      }
      modules.single_ = {module, nullptr};
      if (const CK_RV failed = p11_kit_module_initialize(module); failed != CKR_OK) {
        p11_kit_module_release(module);
        modules.single_[0] = nullptr;
        return Error(ErrorCode::kSystem, "the PKCS#11 module does not start: " + reason(failed));
      }
      return modules;
    }
    modules.all_ = p11_kit_modules_load_and_initialize(0);
    if (modules.all_ == nullptr) {
      const char* why = p11_kit_message();
      return Error(ErrorCode::kSystem, fmt::format("no PKCS#11 module can be loaded: {}",
                                                   why == nullptr ? "none is configured" : why));
    }
    return modules;
  }
  Modules(Modules&& other) noexcept
      : all_(std::exchange(other.all_, nullptr)),
        single_(std::exchange(other.single_, {nullptr, nullptr})) {}
  Modules& operator=(Modules&&) = delete;
  ~Modules() {
    if (all_ != nullptr) p11_kit_modules_finalize_and_release(all_);
    if (single_[0] != nullptr) {
      p11_kit_module_finalize(single_[0]);
      p11_kit_module_release(single_[0]);
    }
  }
  CK_FUNCTION_LIST** list() noexcept { return all_ != nullptr ? all_ : single_.data(); }

 private:
  Modules() = default;
  CK_FUNCTION_LIST** all_ = nullptr;
  std::array<CK_FUNCTION_LIST*, 2> single_{nullptr, nullptr};
};

struct Token {
  CK_FUNCTION_LIST* module = nullptr;
  CK_SLOT_ID slot = 0;
  CK_TOKEN_INFO info{};
  std::string name;
};

// The tokens of one module that the URI matches.
void collect_tokens(P11KitUri* uri, CK_FUNCTION_LIST* module, std::vector<Token>& found) {
  constexpr CK_ULONG kMostSlots = 256;
  CK_INFO about{};
  if (module->C_GetInfo(&about) != CKR_OK || p11_kit_uri_match_module_info(uri, &about) != 1) {
    return;
  }
  std::vector<CK_SLOT_ID> slots(kMostSlots);
  CK_ULONG count = slots.size();
  if (module->C_GetSlotList(CK_TRUE, slots.data(), &count) != CKR_OK) return;
  slots.resize(std::min(count, kMostSlots));
  for (const CK_SLOT_ID slot : slots) {
    Token token{module, slot, {}, {}};
    CK_SLOT_INFO place{};
    if (module->C_GetSlotInfo(slot, &place) != CKR_OK ||
        p11_kit_uri_match_slot_info(uri, &place) != 1 ||
        module->C_GetTokenInfo(slot, &token.info) != CKR_OK ||
        (token.info.flags & CKF_TOKEN_INITIALIZED) == 0 ||
        p11_kit_uri_match_token_info(uri, &token.info) != 1) {
      continue;
    }
    token.name = padded_text(token.info.label, sizeof token.info.label);
    found.push_back(std::move(token));
  }
}

// The one token that the URI means.
Result<Token> find_token(P11KitUri* uri, Modules& modules) {
  std::vector<Token> found;
  for (CK_FUNCTION_LIST** module = modules.list(); *module != nullptr; ++module) {
    collect_tokens(uri, *module, found);
  }
  if (found.size() == 1) return std::move(found.front());
  if (found.empty()) {
    return Error(ErrorCode::kUsage, "no token matches the PKCS#11 URI")
        .with_hint("pkcs11-tool --list-slots, or p11-kit list-modules, shows what there is");
  }
  std::string names;
  for (const Token& token : found) names += (names.empty() ? "'" : ", '") + token.name + "'";
  return Error(ErrorCode::kUsage, fmt::format("several tokens match the PKCS#11 URI: {}", names))
      .with_hint("name one: pkcs11:token=NAME;...");
}

struct Session {
  CK_FUNCTION_LIST* module = nullptr;
  CK_SESSION_HANDLE handle = CK_INVALID_HANDLE;

  Session() = default;
  Session(CK_FUNCTION_LIST* of, CK_SESSION_HANDLE open) : module(of), handle(open) {}
  Session(Session&& other) noexcept
      : module(other.module), handle(std::exchange(other.handle, CK_INVALID_HANDLE)) {}
  Session& operator=(Session&&) = delete;
  ~Session() {
    if (handle == CK_INVALID_HANDLE) return;
    module->C_Logout(handle);
    module->C_CloseSession(handle);
  }
};

Result<void> log_in(const Token& token, const Session& session, const AskPassphrase& ask) {
  if ((token.info.flags & CKF_LOGIN_REQUIRED) == 0) return {};
  CK_RV failed = CKR_OK;
  if ((token.info.flags & CKF_PROTECTED_AUTHENTICATION_PATH) != 0) {
    failed = token.module->C_Login(session.handle, CKU_USER, nullptr, 0);
  } else {
    auto pin = ask(token.name);
    if (!pin) return std::move(pin).error();
    failed = token.module->C_Login(session.handle, CKU_USER,
                                   reinterpret_cast<unsigned char*>(pin->data()), pin->size());
  }
  if (failed == CKR_OK || failed == CKR_USER_ALREADY_LOGGED_IN) return {};
  const bool pin_is_wrong =
      failed == CKR_PIN_INCORRECT || failed == CKR_PIN_LEN_RANGE || failed == CKR_PIN_INVALID;
  if (pin_is_wrong) {
    return Error(ErrorCode::kWrongKey, fmt::format("token {} does not take the PIN", token.name))
        .with_hint("a token locks itself after a few wrong PINs");
  }
  return Error(ErrorCode::kSystem,
               fmt::format("cannot log in to token {}: {}", token.name, reason(failed)));
}

// The one private key that the URI means, whatever class of object it names.
Result<CK_OBJECT_HANDLE> find_private_key(P11KitUri* uri, const Token& token,
                                          const Session& session) {
  CK_OBJECT_CLASS wanted = CKO_PRIVATE_KEY;
  CK_ULONG count = 0;
  const CK_ATTRIBUTE* named = p11_kit_uri_get_attributes(uri, &count);
  std::vector<CK_ATTRIBUTE> pattern{{CKA_CLASS, &wanted, sizeof wanted}};
  std::copy_if(named, named + count, std::back_inserter(pattern),
               [](const CK_ATTRIBUTE& attribute) { return attribute.type != CKA_CLASS; });
  std::array<CK_OBJECT_HANDLE, 2> objects{};
  CK_ULONG found = 0;
  CK_RV failed = token.module->C_FindObjectsInit(session.handle, pattern.data(), pattern.size());
  if (failed == CKR_OK) {
    failed = token.module->C_FindObjects(session.handle, objects.data(), objects.size(), &found);
    token.module->C_FindObjectsFinal(session.handle);
  }
  if (failed != CKR_OK) {
    return Error(ErrorCode::kSystem,
                 fmt::format("cannot search token {}: {}", token.name, reason(failed)));
  }
  if (found == 1) return objects[0];
  return Error(ErrorCode::kUsage,
               fmt::format("{} in token {} match the PKCS#11 URI",
                           found == 0 ? "no private key" : "several private keys", token.name))
      .with_hint("name one with object=NAME or id=%NN; pkcs11-tool --login -O lists them");
}

class Pkcs11Kek final : public Kek {
 public:
  Pkcs11Kek(Modules modules, Session session, CK_OBJECT_HANDLE key, std::size_t modulus_bytes,
            const std::string& token)
      : modules_(std::move(modules)),
        session_(std::move(session)),
        key_(key),
        modulus_bytes_(modulus_bytes),
        name_(fmt::format("RSA-{} key in token {}", modulus_bytes * 8, token)) {}
  const std::string& name() const noexcept override { return name_; }
  std::size_t modulus_bytes() const noexcept override { return modulus_bytes_; }

  Result<SecretBytes> unwrap(WrapAlgorithm algorithm, Bytes wrapped) override {
    const bool sha1 = algorithm == WrapAlgorithm::kRsaOaep;
    CK_RSA_PKCS_OAEP_PARAMS oaep{};
    oaep.hashAlg = sha1 ? CKM_SHA_1 : CKM_SHA256;
    oaep.mgf = sha1 ? CKG_MGF1_SHA1 : CKG_MGF1_SHA256;
    oaep.source = CKZ_DATA_SPECIFIED;
    CK_MECHANISM mechanism{CKM_RSA_PKCS_OAEP, &oaep, sizeof oaep};
    if (algorithm == WrapAlgorithm::kRsa15) mechanism = {CKM_RSA_PKCS, nullptr, 0};
    CK_RV failed = algorithm == WrapAlgorithm::kAesKeyWrap
                       ? CKR_MECHANISM_INVALID
                       : session_.module->C_DecryptInit(session_.handle, &mechanism, key_);
    if (failed != CKR_OK) {
      return Error(
          is_refusal(failed) ? ErrorCode::kNotSupported : ErrorCode::kSystem,
          fmt::format("the {} cannot do {}: {}", name_, name_of(algorithm), reason(failed)));
    }
    SecretBytes plain(modulus_bytes_);
    CK_ULONG size = plain.size();
    std::vector<unsigned char> input(wrapped.size());  // the module's parameter is not const
    std::transform(wrapped.begin(), wrapped.end(), input.begin(),
                   [](std::byte b) { return std::to_integer<unsigned char>(b); });
    failed = session_.module->C_Decrypt(session_.handle, input.data(), input.size(),
                                        reinterpret_cast<unsigned char*>(plain.data()), &size);
    if (failed != CKR_OK || size > plain.size()) {
      return Error(is_misfit(failed) ? ErrorCode::kWrongKey : ErrorCode::kSystem,
                   fmt::format("the {} does not unwrap it by {}: {}", name_, name_of(algorithm),
                               reason(failed)));
    }
    plain.truncate(size);
    return plain;
  }

 private:
  static bool is_refusal(CK_RV code) noexcept {
    return code == CKR_MECHANISM_INVALID || code == CKR_MECHANISM_PARAM_INVALID ||
           code == CKR_ARGUMENTS_BAD || code == CKR_KEY_FUNCTION_NOT_PERMITTED ||
           code == CKR_KEY_TYPE_INCONSISTENT || code == CKR_FUNCTION_NOT_SUPPORTED;
  }
  // Modules do not agree on the code for a padding that does not check.
  static bool is_misfit(CK_RV code) noexcept {
    return code == CKR_ENCRYPTED_DATA_INVALID || code == CKR_ENCRYPTED_DATA_LEN_RANGE ||
           code == CKR_DATA_INVALID || code == CKR_DATA_LEN_RANGE || code == CKR_GENERAL_ERROR ||
           code == CKR_FUNCTION_FAILED;
  }

  Modules modules_;  // outlives the session
  Session session_;
  CK_OBJECT_HANDLE key_;
  std::size_t modulus_bytes_;
  std::string name_;
};

Result<std::size_t> modulus_bytes_of(const Token& token, const Session& session,
                                     CK_OBJECT_HANDLE key) {
  CK_KEY_TYPE type = 0;
  CK_ATTRIBUTE kind{CKA_KEY_TYPE, &type, sizeof type};
  CK_ATTRIBUTE modulus{CKA_MODULUS, nullptr, 0};
  constexpr CK_ULONG kMostBytes = 2048;
  if (token.module->C_GetAttributeValue(session.handle, key, &kind, 1) != CKR_OK ||
      type != CKK_RSA) {
    return Error(ErrorCode::kNotSupported,
                 fmt::format("the private key in token {} is not RSA", token.name));
  }
  if (token.module->C_GetAttributeValue(session.handle, key, &modulus, 1) != CKR_OK ||
      modulus.ulValueLen == 0 || modulus.ulValueLen > kMostBytes) {
    return Error(ErrorCode::kSystem,
                 fmt::format("token {} does not tell how long its key is", token.name));
  }
  return modulus.ulValueLen;
}

}  // namespace

Result<std::unique_ptr<Kek>> open_pkcs11_kek(const std::string& text, const AskPassphrase& ask) {
  auto uri = parse_uri(text);
  if (!uri) return std::move(uri).error();
  auto modules = Modules::load(uri->get());
  if (!modules) return std::move(modules).error();
  auto token = find_token(uri->get(), *modules);
  if (!token) return std::move(token).error();
  CK_SESSION_HANDLE handle = CK_INVALID_HANDLE;
  if (const CK_RV failed =
          token->module->C_OpenSession(token->slot, CKF_SERIAL_SESSION, nullptr, nullptr, &handle);
      failed != CKR_OK) {
    return Error(ErrorCode::kSystem,
                 fmt::format("cannot open token {}: {}", token->name, reason(failed)));
  }
  Session session(token->module, handle);
  if (auto done = log_in(*token, session, ask); !done) return std::move(done).error();
  const auto key = find_private_key(uri->get(), *token, session);
  if (!key) return key.error();
  const auto modulus_bytes = modulus_bytes_of(*token, session, *key);
  if (!modulus_bytes) return modulus_bytes.error();
  return std::unique_ptr<Kek>(std::make_unique<Pkcs11Kek>(std::move(*modules), std::move(session),
                                                          *key, *modulus_bytes, token->name));
}

}  // namespace latchkey::keyslots
