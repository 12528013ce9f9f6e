#include "frontends/nbd/wire_error.h"

#include <cerrno>

#include <gtest/gtest.h>

namespace latchkey::frontends::nbd {
namespace {

using engine::IoCode;
using engine::IoStatus;

TEST(WireError, EveryStatusHasItsValue) {
  EXPECT_TRUE(wire_error(IoStatus{}).ok());
  EXPECT_EQ(ErrorValue::kIo, wire_error(IoCode::kFailed).value);
  EXPECT_EQ(ErrorValue::kInvalid, wire_error(IoCode::kOutOfRange).value);
  EXPECT_EQ(ErrorValue::kPermission, wire_error(IoCode::kReadOnly).value);
  EXPECT_EQ(ErrorValue::kPermission, wire_error(IoCode::kSealed).value);
  EXPECT_EQ(ErrorValue::kNoSpace, wire_error(IoCode::kNoSpace).value);
  EXPECT_EQ(ErrorValue::kIo, wire_error(IoCode::kDamaged).value);
  EXPECT_EQ(ErrorValue::kNotSupported, wire_error(IoCode::kNotSupported).value);
}

TEST(WireError, OnlyValuesOfTheProtocolComeFromAnErrno) {
  EXPECT_EQ(ErrorValue::kNoMemory, wire_error(IoStatus::from_errno(ENOMEM)).value);
  EXPECT_EQ(ErrorValue::kNoSpace, wire_error(IoStatus::from_errno(EDQUOT)).value);
  EXPECT_EQ(ErrorValue::kNoSpace, wire_error(IoStatus::from_errno(EFBIG)).value);
  EXPECT_EQ(ErrorValue::kPermission, wire_error(IoStatus::from_errno(EROFS)).value);
  EXPECT_EQ(ErrorValue::kPermission, wire_error(IoStatus::from_errno(EACCES)).value);
  EXPECT_EQ(ErrorValue::kShutdown, wire_error(IoStatus::from_errno(ESHUTDOWN)).value);
  for (const int sys_errno : {EBADF, ENODEV, EREMOTEIO, ETIMEDOUT, ENXIO, EINVAL}) {
    EXPECT_EQ(ErrorValue::kIo, wire_error(IoStatus::from_errno(sys_errno)).value) << sys_errno;
  }
}

TEST(WireError, FailuresHaveWords) {
  EXPECT_FALSE(wire_error(IoCode::kSealed).text.empty());
  EXPECT_FALSE(wire_error(IoCode::kFailed).text.empty());
}

}  // namespace
}  // namespace latchkey::frontends::nbd
