-- CreateTable
CREATE TABLE "BlockExecutionCount" (
    "hour" TIMESTAMP(3) NOT NULL,
    "blockName" TEXT NOT NULL,
    "executor" TEXT NOT NULL,
    "executions" INTEGER NOT NULL,
    "failures" INTEGER NOT NULL,

    CONSTRAINT "BlockExecutionCount_pkey" PRIMARY KEY ("hour","blockName","executor")
);

-- CreateTable
CREATE TABLE "SystemTaskRun" (
    "id" TEXT NOT NULL,
    "task" TEXT NOT NULL,
    "cause" TEXT NOT NULL,
    "scheduledAt" TIMESTAMP(3),
    "outcome" TEXT NOT NULL,
    "result" TEXT,
    "startedAt" TIMESTAMP(3) NOT NULL,
    "endedAt" TIMESTAMP(3),

    CONSTRAINT "SystemTaskRun_pkey" PRIMARY KEY ("id")
);

-- CreateTable
CREATE TABLE "Alert" (
    "id" TEXT NOT NULL,
    "kind" TEXT NOT NULL,
    "subject" TEXT NOT NULL,
    "userId" TEXT,
    "message" TEXT NOT NULL,
    "severity" INTEGER NOT NULL,
    "openKey" TEXT,
    "openedAt" TIMESTAMP(3) NOT NULL,
    "lastSeenAt" TIMESTAMP(3) NOT NULL,
    "toldAt" TIMESTAMP(3) NOT NULL,
    "resolvedAt" TIMESTAMP(3),

    CONSTRAINT "Alert_pkey" PRIMARY KEY ("id")
);

-- CreateIndex
CREATE INDEX "SystemTaskRun_task_id_idx" ON "SystemTaskRun"("task", "id");

-- CreateIndex
CREATE UNIQUE INDEX "Alert_openKey_key" ON "Alert"("openKey");

-- CreateIndex
CREATE INDEX "Alert_userId_id_idx" ON "Alert"("userId", "id");
