-- DropIndex
DROP INDEX "AgentGraphExecution_status_id_idx";

-- Added in place: copying the tables, as Prisma proposes, would take minutes on a large database.
ALTER TABLE "AgentGraph" ADD COLUMN "policy" TEXT NOT NULL DEFAULT '{}';
ALTER TABLE "AgentNode" ADD COLUMN "policy" TEXT NOT NULL DEFAULT '{}';
ALTER TABLE "AgentGraphExecution" ADD COLUMN "lane" TEXT NOT NULL DEFAULT '';
ALTER TABLE "AgentGraphExecution" ADD COLUMN "laneLimit" INTEGER NOT NULL DEFAULT 0;
ALTER TABLE "AgentGraphExecution" ADD COLUMN "priority" INTEGER NOT NULL DEFAULT 0;
ALTER TABLE "AgentGraphExecution" ADD COLUMN "pauseRequestedAt" DATETIME;
ALTER TABLE "AgentGraphExecution" ADD COLUMN "pausedMilliseconds" INTEGER NOT NULL DEFAULT 0;
ALTER TABLE "AgentGraphExecution" ADD COLUMN "rerunOfId" TEXT;
ALTER TABLE "AgentGraphExecution" ADD COLUMN "rerunFromNodeId" TEXT;
ALTER TABLE "AgentNodeExecution" ADD COLUMN "tries" INTEGER NOT NULL DEFAULT 1;
ALTER TABLE "AgentNodeExecution" ADD COLUMN "logs" TEXT;

-- What an executor process died of runs alone, in a lane of its own.
UPDATE "AgentGraphExecution" SET "lane" = 'quarantine' WHERE "deaths" > 0 AND "status" IN ('INCOMPLETE', 'QUEUED', 'RUNNING', 'PAUSED');

-- CreateTable
CREATE TABLE "AgentNodeOutput" (
    "agentGraphExecutionId" TEXT NOT NULL,
    "number" INTEGER NOT NULL,
    "afterSequence" INTEGER NOT NULL,
    "agentNodeExecutionId" TEXT NOT NULL,
    "pin" TEXT NOT NULL,
    "value" TEXT NOT NULL,
    "revision" INTEGER NOT NULL,

    PRIMARY KEY ("agentGraphExecutionId", "number"),
    CONSTRAINT "AgentNodeOutput_agentGraphExecutionId_fkey" FOREIGN KEY ("agentGraphExecutionId") REFERENCES "AgentGraphExecution" ("id") ON DELETE CASCADE ON UPDATE CASCADE
);

-- CreateIndex
CREATE INDEX "AgentGraphExecution_status_lane_userId_priority_id_idx" ON "AgentGraphExecution"("status", "lane", "userId", "priority" DESC, "id");
