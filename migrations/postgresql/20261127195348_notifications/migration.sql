-- AlterTable
ALTER TABLE "User" ADD COLUMN     "notificationPreferences" TEXT NOT NULL DEFAULT '{}';

-- CreateTable
CREATE TABLE "NotificationTarget" (
    "id" TEXT NOT NULL,
    "userId" TEXT NOT NULL,
    "kind" TEXT NOT NULL,
    "name" TEXT NOT NULL,
    "address" TEXT NOT NULL,
    "secret" TEXT,
    "isEnabled" BOOLEAN NOT NULL DEFAULT true,
    "createdAt" TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,

    CONSTRAINT "NotificationTarget_pkey" PRIMARY KEY ("id")
);

-- CreateTable
CREATE TABLE "Notification" (
    "id" TEXT NOT NULL,
    "userId" TEXT NOT NULL,
    "type" TEXT NOT NULL,
    "key" TEXT NOT NULL,
    "data" TEXT NOT NULL,
    "dueAt" TIMESTAMP(3) NOT NULL,
    "isBatched" BOOLEAN NOT NULL DEFAULT false,
    "createdAt" TIMESTAMP(3) NOT NULL,

    CONSTRAINT "Notification_pkey" PRIMARY KEY ("id")
);

-- CreateTable
CREATE TABLE "NotificationMessage" (
    "id" TEXT NOT NULL,
    "userId" TEXT NOT NULL,
    "targetId" TEXT,
    "state" TEXT NOT NULL,
    "notifications" TEXT NOT NULL,
    "total" INTEGER NOT NULL,
    "attempt" INTEGER NOT NULL DEFAULT 0,
    "isRepeated" BOOLEAN NOT NULL DEFAULT false,
    "tryAt" TIMESTAMP(3) NOT NULL,
    "error" TEXT,
    "sentAt" TIMESTAMP(3),
    "createdAt" TIMESTAMP(3) NOT NULL,

    CONSTRAINT "NotificationMessage_pkey" PRIMARY KEY ("id")
);

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

-- AddForeignKey
ALTER TABLE "NotificationTarget" ADD CONSTRAINT "NotificationTarget_userId_fkey" FOREIGN KEY ("userId") REFERENCES "User"("id") ON DELETE RESTRICT ON UPDATE CASCADE;

-- AddForeignKey
ALTER TABLE "Notification" ADD CONSTRAINT "Notification_userId_fkey" FOREIGN KEY ("userId") REFERENCES "User"("id") ON DELETE RESTRICT ON UPDATE CASCADE;

-- AddForeignKey
ALTER TABLE "NotificationMessage" ADD CONSTRAINT "NotificationMessage_userId_fkey" FOREIGN KEY ("userId") REFERENCES "User"("id") ON DELETE RESTRICT ON UPDATE CASCADE;
