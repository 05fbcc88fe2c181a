-- CreateTable
CREATE TABLE "AgentExecutionSchedule" (
    "id" TEXT NOT NULL PRIMARY KEY,
    "agentGraphId" TEXT NOT NULL,
    "agentGraphVersion" INTEGER,
    "checkedVersion" INTEGER,
    "userId" TEXT NOT NULL,
    "name" TEXT NOT NULL,
    "schedule" TEXT NOT NULL DEFAULT '',
    "runAt" DATETIME,
    "intervalSeconds" INTEGER,
    "timezone" TEXT NOT NULL DEFAULT 'UTC',
    "isEnabled" BOOLEAN NOT NULL DEFAULT true,
    "inputData" TEXT NOT NULL DEFAULT '{}',
    "inputCredentials" TEXT NOT NULL DEFAULT '{}',
    "misfirePolicy" TEXT NOT NULL DEFAULT 'latest',
    "misfireLimit" INTEGER NOT NULL DEFAULT 100,
    "overlapPolicy" TEXT NOT NULL DEFAULT 'allow',
    "startsAt" DATETIME,
    "endsAt" DATETIME,
    "maxRuns" INTEGER,
    "runs" INTEGER NOT NULL DEFAULT 0,
    "jitterSeconds" INTEGER NOT NULL DEFAULT 0,
    "excludedDates" TEXT NOT NULL DEFAULT '[]',
    "pauseAfterFailures" INTEGER,
    "nextRunAt" DATETIME,
    "revision" INTEGER NOT NULL DEFAULT 0,
    "pausedAt" DATETIME,
    "pausedBy" TEXT,
    "pausedReason" TEXT,
    "isAdopted" BOOLEAN NOT NULL DEFAULT false,
    "deletedAt" DATETIME,
    "createdAt" DATETIME NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "lastUpdated" DATETIME NOT NULL DEFAULT CURRENT_TIMESTAMP
);

-- CreateTable
CREATE TABLE "AgentScheduleSlot" (
    "scheduleId" TEXT NOT NULL,
    "scheduledAt" DATETIME NOT NULL,
    "outcome" TEXT NOT NULL,
    "reason" TEXT,
    "graphExecutionId" TEXT,
    "lastScheduledAt" DATETIME,
    "count" INTEGER DEFAULT 1,
    "firedAt" DATETIME NOT NULL DEFAULT CURRENT_TIMESTAMP,

    PRIMARY KEY ("scheduleId", "scheduledAt")
);

-- CreateIndex
CREATE INDEX "AgentExecutionSchedule_isEnabled_idx" ON "AgentExecutionSchedule"("isEnabled");

-- CreateIndex
CREATE INDEX "AgentExecutionSchedule_nextRunAt_idx" ON "AgentExecutionSchedule"("nextRunAt");

-- CreateIndex
CREATE INDEX "AgentExecutionSchedule_userId_id_idx" ON "AgentExecutionSchedule"("userId", "id");

-- CreateIndex
CREATE INDEX "AgentExecutionSchedule_agentGraphId_id_idx" ON "AgentExecutionSchedule"("agentGraphId", "id");

-- The tables of APScheduler's job stores, as it makes them itself; another deployment may have made them before.
CREATE TABLE IF NOT EXISTS apscheduler_jobs (
    id VARCHAR(191) NOT NULL,
    next_run_time FLOAT,
    job_state BLOB NOT NULL,
    PRIMARY KEY (id)
);

CREATE INDEX IF NOT EXISTS ix_apscheduler_jobs_next_run_time ON apscheduler_jobs (next_run_time);

CREATE TABLE IF NOT EXISTS apscheduler_jobs_batched_notifications (
    id VARCHAR(191) NOT NULL,
    next_run_time FLOAT,
    job_state BLOB NOT NULL,
    PRIMARY KEY (id)
);

CREATE INDEX IF NOT EXISTS ix_apscheduler_jobs_batched_notifications_next_run_time ON apscheduler_jobs_batched_notifications (next_run_time);
