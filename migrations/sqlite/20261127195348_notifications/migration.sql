-- CreateTable
CREATE TABLE "NotificationTarget" (
    "id" TEXT NOT NULL PRIMARY KEY,
    "userId" TEXT NOT NULL,
    "kind" TEXT NOT NULL,
    "name" TEXT NOT NULL,
    "address" TEXT NOT NULL,
    "secret" TEXT,
    "isEnabled" BOOLEAN NOT NULL DEFAULT true,
    "createdAt" DATETIME NOT NULL DEFAULT CURRENT_TIMESTAMP,
    CONSTRAINT "NotificationTarget_userId_fkey" FOREIGN KEY ("userId") REFERENCES "User" ("id") ON DELETE RESTRICT ON UPDATE CASCADE
);

-- CreateTable
CREATE TABLE "Notification" (
    "id" TEXT NOT NULL PRIMARY KEY,
    "userId" TEXT NOT NULL,
    "type" TEXT NOT NULL,
    "key" TEXT NOT NULL,
    "data" TEXT NOT NULL,
    "dueAt" DATETIME NOT NULL,
    "isBatched" BOOLEAN NOT NULL DEFAULT false,
    "createdAt" DATETIME NOT NULL,
    CONSTRAINT "Notification_userId_fkey" FOREIGN KEY ("userId") REFERENCES "User" ("id") ON DELETE RESTRICT ON UPDATE CASCADE
);

-- CreateTable
CREATE TABLE "NotificationMessage" (
    "id" TEXT NOT NULL PRIMARY KEY,
    "userId" TEXT NOT NULL,
    "targetId" TEXT,
    "state" TEXT NOT NULL,
    "notifications" TEXT NOT NULL,
    "total" INTEGER NOT NULL,
    "attempt" INTEGER NOT NULL DEFAULT 0,
    "isRepeated" BOOLEAN NOT NULL DEFAULT false,
    "tryAt" DATETIME NOT NULL,
    "error" TEXT,
    "sentAt" DATETIME,
    "createdAt" DATETIME NOT NULL,
    CONSTRAINT "NotificationMessage_userId_fkey" FOREIGN KEY ("userId") REFERENCES "User" ("id") ON DELETE RESTRICT ON UPDATE CASCADE
);

-- AlterTable
ALTER TABLE "User" ADD COLUMN "notificationPreferences" TEXT NOT NULL DEFAULT '{}';

-- CreateIndex
CREATE INDEX "NotificationTarget_userId_id_idx" ON "NotificationTarget"("userId", "id");

-- CreateIndex
CREATE INDEX "Notification_isBatched_dueAt_idx" ON "Notification"("isBatched", "dueAt");

-- CreateIndex
CREATE INDEX "Notification_userId_id_idx" ON "Notification"("userId", "id");

-- CreateIndex
CREATE UNIQUE INDEX "Notification_userId_type_key_key" ON "Notification"("userId", "type", "key");

-- CreateIndex
CREATE INDEX "NotificationMessage_state_tryAt_idx" ON "NotificationMessage"("state", "tryAt");

-- CreateIndex
CREATE INDEX "NotificationMessage_userId_id_idx" ON "NotificationMessage"("userId", "id");
