-- CreateTable
CREATE TABLE "FileDefinition" (
    "id" TEXT NOT NULL PRIMARY KEY,
    "userId" TEXT NOT NULL,
    "name" TEXT NOT NULL,
    "mimeType" TEXT NOT NULL,
    "size" INTEGER NOT NULL,
    "hash" TEXT NOT NULL,
    "encoding" TEXT,
    "metadata" TEXT NOT NULL DEFAULT '{}',
    "storageKey" TEXT NOT NULL,
    "nodeExecutionId" TEXT,
    "expiresAt" DATETIME,
    "expiredSeenAt" DATETIME,
    "deletedAt" DATETIME,
    "createdAt" DATETIME NOT NULL DEFAULT CURRENT_TIMESTAMP,
    CONSTRAINT "FileDefinition_userId_fkey" FOREIGN KEY ("userId") REFERENCES "User" ("id") ON DELETE RESTRICT ON UPDATE CASCADE
);

-- CreateIndex
CREATE UNIQUE INDEX "FileDefinition_storageKey_key" ON "FileDefinition"("storageKey");

-- CreateIndex
CREATE INDEX "FileDefinition_userId_id_idx" ON "FileDefinition"("userId", "id");

-- CreateIndex
CREATE INDEX "FileDefinition_expiresAt_idx" ON "FileDefinition"("expiresAt");
