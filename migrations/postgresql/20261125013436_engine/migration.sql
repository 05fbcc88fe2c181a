-- DropIndex
DROP INDEX "AgentGraphExecution_status_id_idx";

-- AlterTable
ALTER TABLE "AgentGraph" ADD COLUMN     "policy" TEXT NOT NULL DEFAULT '{}';

-- AlterTable
ALTER TABLE "AgentNode" ADD COLUMN     "policy" TEXT NOT NULL DEFAULT '{}';

-- AlterTable
ALTER TABLE "AgentGraphExecution" ADD COLUMN     "lane" TEXT NOT NULL DEFAULT '',
ADD COLUMN     "laneLimit" INTEGER NOT NULL DEFAULT 0,
ADD COLUMN     "pauseRequestedAt" TIMESTAMP(3),
ADD COLUMN     "pausedMilliseconds" INTEGER NOT NULL DEFAULT 0,
ADD COLUMN     "priority" INTEGER NOT NULL DEFAULT 0,
ADD COLUMN     "rerunFromNodeId" TEXT,
ADD COLUMN     "rerunOfId" TEXT;

-- AlterTable
ALTER TABLE "AgentNodeExecution" ADD COLUMN     "logs" TEXT,
ADD COLUMN     "tries" INTEGER NOT NULL DEFAULT 1;

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

    CONSTRAINT "AgentNodeOutput_pkey" PRIMARY KEY ("agentGraphExecutionId","number")
);

-- CreateIndex
CREATE INDEX "AgentGraphExecution_status_lane_userId_priority_id_idx" ON "AgentGraphExecution"("status", "lane", "userId", "priority" DESC, "id");

-- AddForeignKey
ALTER TABLE "AgentNodeOutput" ADD CONSTRAINT "AgentNodeOutput_agentGraphExecutionId_fkey" FOREIGN KEY ("agentGraphExecutionId") REFERENCES "AgentGraphExecution"("id") ON DELETE CASCADE ON UPDATE CASCADE;
