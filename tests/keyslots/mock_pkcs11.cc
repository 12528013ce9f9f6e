// A PKCS#11 module with one token and one RSA private key, for what SoftHSM cannot do: OAEP with
// SHA-256. It checks what it is asked, strictly: the session, the PIN, the template, and every
// member of the mechanism's parameters; what is not exactly right is refused.
//
// The key is the PEM file that LATCHKEY_MOCK_KEY names. LATCHKEY_MOCK_LOG names a file to which
// each decryption appends the mechanism, so that a test can see what was used.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string_view>

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <p11-kit/pkcs11.h>

namespace {

constexpr CK_SLOT_ID kSlot = 7;
constexpr CK_SESSION_HANDLE kSession = 11;
constexpr CK_OBJECT_HANDLE kKey = 13;
constexpr char kPin[] = "4321";
constexpr char kLabel[] = "kek";

EVP_PKEY* key = nullptr;
bool open_session = false;
bool logged_in = false;
bool searching = false;
bool matches = false;
CK_MECHANISM_TYPE decrypting = CK_UNAVAILABLE_INFORMATION;
bool with_sha256 = false;

// Fixed fields: blanks, and no null at the end.
void pad(unsigned char* field, std::size_t size, std::string_view text) {
  std::fill_n(field, size, ' ');
  std::copy(text.begin(), text.end(), field);
}

void log_use(const char* mechanism) {
  const char* name = std::getenv("LATCHKEY_MOCK_LOG");
  std::FILE* log = name == nullptr ? nullptr : std::fopen(name, "a");
  if (log == nullptr) return;
  std::fprintf(log, "%s\n", mechanism);
  std::fclose(log);
}

CK_RV initialize(void* /*arguments*/) {
  const char* name = std::getenv("LATCHKEY_MOCK_KEY");
  std::FILE* file = name == nullptr ? nullptr : std::fopen(name, "r");
  if (file == nullptr) return CKR_DEVICE_ERROR;
  key = PEM_read_PrivateKey(file, nullptr, nullptr, nullptr);
  std::fclose(file);
  return key == nullptr ? CKR_DEVICE_ERROR : CKR_OK;
}

CK_RV finalize(void* /*reserved*/) {
  EVP_PKEY_free(key);
  key = nullptr;
  open_session = logged_in = searching = false;
  return CKR_OK;
}

CK_RV get_info(CK_INFO* info) {
  *info = {};
  info->cryptokiVersion = {2, 40};
  pad(info->manufacturerID, sizeof info->manufacturerID, "tests");
  pad(info->libraryDescription, sizeof info->libraryDescription, "checking mock");
  return CKR_OK;
}

CK_RV get_slot_list(unsigned char /*present*/, CK_SLOT_ID* slots, CK_ULONG* count) {
  if (slots != nullptr && *count < 1) return CKR_BUFFER_TOO_SMALL;
  if (slots != nullptr) slots[0] = kSlot;
  *count = 1;
  return CKR_OK;
}

CK_RV get_slot_info(CK_SLOT_ID slot, CK_SLOT_INFO* info) {
  if (slot != kSlot) return CKR_SLOT_ID_INVALID;
  *info = {};
  pad(info->slotDescription, sizeof info->slotDescription, "mock slot");
  pad(info->manufacturerID, sizeof info->manufacturerID, "tests");
  info->flags = CKF_TOKEN_PRESENT;
  return CKR_OK;
}

CK_RV get_token_info(CK_SLOT_ID slot, CK_TOKEN_INFO* info) {
  if (slot != kSlot) return CKR_SLOT_ID_INVALID;
  *info = {};
  pad(info->label, sizeof info->label, "mock");
  pad(info->manufacturerID, sizeof info->manufacturerID, "tests");
  pad(info->model, sizeof info->model, "mock");
  pad(info->serialNumber, sizeof info->serialNumber, "1");
  info->flags = CKF_TOKEN_INITIALIZED | CKF_LOGIN_REQUIRED | CKF_USER_PIN_INITIALIZED;
  return CKR_OK;
}

CK_RV open(CK_SLOT_ID slot, CK_FLAGS flags, void* /*application*/, CK_NOTIFY /*notify*/,
           CK_SESSION_HANDLE* session) {
  if (slot != kSlot) return CKR_SLOT_ID_INVALID;
  if ((flags & CKF_SERIAL_SESSION) == 0) return CKR_SESSION_PARALLEL_NOT_SUPPORTED;
  if ((flags & CKF_RW_SESSION) != 0) return CKR_TOKEN_WRITE_PROTECTED;
  open_session = true;
  *session = kSession;
  return CKR_OK;
}

CK_RV close(CK_SESSION_HANDLE session) {
  if (session != kSession || !open_session) return CKR_SESSION_HANDLE_INVALID;
  open_session = logged_in = false;
  return CKR_OK;
}

CK_RV login(CK_SESSION_HANDLE session, CK_USER_TYPE user, unsigned char* pin, CK_ULONG length) {
  if (session != kSession || !open_session) return CKR_SESSION_HANDLE_INVALID;
  if (user != CKU_USER) return CKR_USER_TYPE_INVALID;
  if (length != sizeof kPin - 1 || std::memcmp(pin, kPin, length) != 0) return CKR_PIN_INCORRECT;
  logged_in = true;
  return CKR_OK;
}

CK_RV logout(CK_SESSION_HANDLE session) {
  if (session != kSession || !logged_in) return CKR_USER_NOT_LOGGED_IN;
  logged_in = false;
  return CKR_OK;
}

// The key is private: only who is logged in finds it, and only as what it is.
CK_RV find_init(CK_SESSION_HANDLE session, CK_ATTRIBUTE* pattern, CK_ULONG count) {
  if (session != kSession || !open_session) return CKR_SESSION_HANDLE_INVALID;
  matches = logged_in;
  for (CK_ULONG i = 0; i < count; ++i) {
    if (pattern[i].type == CKA_CLASS) {
      matches = matches && pattern[i].ulValueLen == sizeof(CK_OBJECT_CLASS) &&
                *static_cast<CK_OBJECT_CLASS*>(pattern[i].pValue) == CKO_PRIVATE_KEY;
    } else if (pattern[i].type == CKA_LABEL) {
      matches = matches && pattern[i].ulValueLen == sizeof kLabel - 1 &&
                std::memcmp(pattern[i].pValue, kLabel, sizeof kLabel - 1) == 0;
    } else {
      matches = false;
    }
  }
  searching = true;
  return CKR_OK;
}

CK_RV find(CK_SESSION_HANDLE /*session*/, CK_OBJECT_HANDLE* objects, CK_ULONG room,
           CK_ULONG* found) {
  if (!searching) return CKR_OPERATION_NOT_INITIALIZED;
  *found = matches && room > 0 ? 1 : 0;
  if (*found == 1) objects[0] = kKey;
  matches = false;
  return CKR_OK;
}

CK_RV find_final(CK_SESSION_HANDLE /*session*/) {
  searching = false;
  return CKR_OK;
}

CK_RV get_attribute(CK_SESSION_HANDLE /*session*/, CK_OBJECT_HANDLE object, CK_ATTRIBUTE* wanted,
                    CK_ULONG count) {
  if (object != kKey || !logged_in || count != 1) return CKR_OBJECT_HANDLE_INVALID;
  if (wanted->type == CKA_KEY_TYPE && wanted->ulValueLen == sizeof(CK_KEY_TYPE)) {
    *static_cast<CK_KEY_TYPE*>(wanted->pValue) = CKK_RSA;
    return CKR_OK;
  }
  if (wanted->type == CKA_MODULUS && wanted->pValue == nullptr) {
    wanted->ulValueLen = static_cast<CK_ULONG>(EVP_PKEY_get_size(key));
    return CKR_OK;
  }
  return CKR_ATTRIBUTE_TYPE_INVALID;
}

CK_RV decrypt_init(CK_SESSION_HANDLE session, CK_MECHANISM* mechanism, CK_OBJECT_HANDLE object) {
  if (session != kSession || !logged_in) return CKR_USER_NOT_LOGGED_IN;
  if (object != kKey) return CKR_KEY_HANDLE_INVALID;
  if (mechanism->mechanism == CKM_RSA_PKCS) {
    if (mechanism->pParameter != nullptr) return CKR_MECHANISM_PARAM_INVALID;
  } else if (mechanism->mechanism == CKM_RSA_PKCS_OAEP) {
    if (mechanism->ulParameterLen != sizeof(CK_RSA_PKCS_OAEP_PARAMS)) {
      return CKR_MECHANISM_PARAM_INVALID;
    }
    const auto* oaep = static_cast<CK_RSA_PKCS_OAEP_PARAMS*>(mechanism->pParameter);
    with_sha256 = oaep->hashAlg == CKM_SHA256 && oaep->mgf == CKG_MGF1_SHA256;
    const bool with_sha1 = oaep->hashAlg == CKM_SHA_1 && oaep->mgf == CKG_MGF1_SHA1;
    if ((!with_sha256 && !with_sha1) || oaep->source != CKZ_DATA_SPECIFIED ||
        oaep->pSourceData != nullptr || oaep->ulSourceDataLen != 0) {
      return CKR_MECHANISM_PARAM_INVALID;
    }
  } else {
    return CKR_MECHANISM_INVALID;
  }
  decrypting = mechanism->mechanism;
  return CKR_OK;
}

CK_RV decrypt(CK_SESSION_HANDLE /*session*/, unsigned char* from, CK_ULONG length,
              unsigned char* into, CK_ULONG* room) {
  if (decrypting == CK_UNAVAILABLE_INFORMATION) return CKR_OPERATION_NOT_INITIALIZED;
  const bool oaep = decrypting == CKM_RSA_PKCS_OAEP;
  decrypting = CK_UNAVAILABLE_INFORMATION;
  log_use(!oaep ? "PKCS1" : with_sha256 ? "OAEP-SHA256" : "OAEP-SHA1");
  EVP_PKEY_CTX* context = EVP_PKEY_CTX_new(key, nullptr);
  const char* digest = with_sha256 ? "SHA256" : "SHA1";
  std::size_t size = *room;
  const bool done = EVP_PKEY_decrypt_init(context) > 0 &&
                    EVP_PKEY_CTX_set_rsa_padding(
                        context, oaep ? RSA_PKCS1_OAEP_PADDING : RSA_PKCS1_PADDING) > 0 &&
                    (!oaep || (EVP_PKEY_CTX_set_rsa_oaep_md_name(context, digest, nullptr) > 0 &&
                               EVP_PKEY_CTX_set_rsa_mgf1_md_name(context, digest, nullptr) > 0)) &&
                    EVP_PKEY_decrypt(context, into, &size, from, length) > 0;
  EVP_PKEY_CTX_free(context);
  *room = size;
  return done ? CKR_OK : CKR_ENCRYPTED_DATA_INVALID;
}

CK_FUNCTION_LIST functions;

CK_RV get_function_list(CK_FUNCTION_LIST** list) {
  functions.version = {2, 40};
  functions.C_Initialize = initialize;
  functions.C_Finalize = finalize;
  functions.C_GetInfo = get_info;
  functions.C_GetSlotList = get_slot_list;
  functions.C_GetSlotInfo = get_slot_info;
  functions.C_GetTokenInfo = get_token_info;
  functions.C_OpenSession = open;
  functions.C_CloseSession = close;
  functions.C_Login = login;
  functions.C_Logout = logout;
  functions.C_FindObjectsInit = find_init;
  functions.C_FindObjects = find;
  functions.C_FindObjectsFinal = find_final;
  functions.C_GetAttributeValue = get_attribute;
  functions.C_DecryptInit = decrypt_init;
  functions.C_Decrypt = decrypt;
  functions.C_GetFunctionList = get_function_list;
  *list = &functions;
  return CKR_OK;
}

}  // namespace

extern "C" CK_RV C_GetFunctionList(CK_FUNCTION_LIST** list) {  // NOLINT: PKCS#11's own name
  return get_function_list(list);
}
