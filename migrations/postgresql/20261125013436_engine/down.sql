-- DropForeignKey
ALTER TABLE "AgentNodeOutput" DROP CONSTRAINT "AgentNodeOutput_agentGraphExecutionId_fkey";

-- DropIndex
DROP INDEX "AgentGraphExecution_status_lane_userId_priority_id_idx";

-- AlterTable
ALTER TABLE "AgentGraph" DROP COLUMN "policy";

-- AlterTable
ALTER TABLE "AgentNode" DROP COLUMN "policy";

-- AlterTable
ALTER TABLE "AgentGraphExecution" DROP COLUMN "lane",
DROP COLUMN "laneLimit",
DROP COLUMN "pauseRequestedAt",
DROP COLUMN "pausedMilliseconds",
DROP COLUMN "priority",
DROP COLUMN "rerunFromNodeId",
DROP COLUMN "rerunOfId";

-- AlterTable
ALTER TABLE "AgentNodeExecution" DROP COLUMN "logs",
DROP COLUMN "tries";

-- DropTable
DROP TABLE "AgentNodeOutput";

-- CreateIndex
CREATE INDEX "AgentGraphExecution_status_id_idx" ON "AgentGraphExecution"("status", "id");
