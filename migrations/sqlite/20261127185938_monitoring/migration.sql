-- CreateTable
CREATE TABLE "BlockExecutionCount" (
    "hour" DATETIME NOT NULL,
    "blockName" TEXT NOT NULL,
    "executor" TEXT NOT NULL,
    "executions" INTEGER NOT NULL,
    "failures" INTEGER NOT NULL,

    PRIMARY KEY ("hour", "blockName", "executor")
);

-- CreateTable
CREATE TABLE "SystemTaskRun" (
    "id" TEXT NOT NULL PRIMARY KEY,
    "task" TEXT NOT NULL,
    "cause" TEXT NOT NULL,
    "scheduledAt" DATETIME,
    "outcome" TEXT NOT NULL,
    "result" TEXT,
    "startedAt" DATETIME NOT NULL,
    "endedAt" DATETIME
);

-- CreateTable
CREATE TABLE "Alert" (
    "id" TEXT NOT NULL PRIMARY KEY,
    "kind" TEXT NOT NULL,
    "subject" TEXT NOT NULL,
    "userId" TEXT,
    "message" TEXT NOT NULL,
    "severity" INTEGER NOT NULL,
    "openKey" TEXT,
    "openedAt" DATETIME NOT NULL,
    "lastSeenAt" DATETIME NOT NULL,
    "toldAt" DATETIME NOT NULL,
    "resolvedAt" DATETIME
);

-- CreateIndex
CREATE INDEX "SystemTaskRun_task_id_idx" ON "SystemTaskRun"("task", "id");

-- CreateIndex
CREATE UNIQUE INDEX "Alert_openKey_key" ON "Alert"("openKey");

-- CreateIndex
CREATE INDEX "Alert_userId_id_idx" ON "Alert"("userId", "id");
