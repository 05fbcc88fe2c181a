-- DropIndex
DROP INDEX "NotificationTarget_userId_id_idx";

-- DropIndex
DROP INDEX "Notification_isBatched_dueAt_idx";

-- DropIndex
DROP INDEX "Notification_userId_id_idx";

-- DropIndex
DROP INDEX "Notification_userId_type_key_key";

-- DropIndex
DROP INDEX "NotificationMessage_state_tryAt_idx";

-- DropIndex
DROP INDEX "NotificationMessage_userId_id_idx";

-- DropTable
PRAGMA foreign_keys=off;
DROP TABLE "NotificationTarget";
PRAGMA foreign_keys=on;

-- DropTable
PRAGMA foreign_keys=off;
DROP TABLE "Notification";
PRAGMA foreign_keys=on;

-- DropTable
PRAGMA foreign_keys=off;
DROP TABLE "NotificationMessage";
PRAGMA foreign_keys=on;

-- AlterTable
ALTER TABLE "User" DROP COLUMN "notificationPreferences";
