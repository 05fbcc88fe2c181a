-- DropForeignKey
ALTER TABLE "NotificationTarget" DROP CONSTRAINT "NotificationTarget_userId_fkey";

-- DropForeignKey
ALTER TABLE "Notification" DROP CONSTRAINT "Notification_userId_fkey";

-- DropForeignKey
ALTER TABLE "NotificationMessage" DROP CONSTRAINT "NotificationMessage_userId_fkey";

-- AlterTable
ALTER TABLE "User" DROP COLUMN "notificationPreferences";

-- DropTable
DROP TABLE "NotificationTarget";

-- DropTable
DROP TABLE "Notification";

-- DropTable
DROP TABLE "NotificationMessage";
