-- DropTable
DROP TABLE "AgentNodeOutput";

-- DropIndex
DROP INDEX "AgentGraphExecution_status_lane_userId_priority_id_idx";

-- AlterTable
ALTER TABLE "AgentNodeExecution" DROP COLUMN "logs";
ALTER TABLE "AgentNodeExecution" DROP COLUMN "tries";
ALTER TABLE "AgentGraphExecution" DROP COLUMN "rerunFromNodeId";
ALTER TABLE "AgentGraphExecution" DROP COLUMN "rerunOfId";
ALTER TABLE "AgentGraphExecution" DROP COLUMN "pausedMilliseconds";
ALTER TABLE "AgentGraphExecution" DROP COLUMN "pauseRequestedAt";
ALTER TABLE "AgentGraphExecution" DROP COLUMN "priority";
ALTER TABLE "AgentGraphExecution" DROP COLUMN "laneLimit";
ALTER TABLE "AgentGraphExecution" DROP COLUMN "lane";
ALTER TABLE "AgentNode" DROP COLUMN "policy";
ALTER TABLE "AgentGraph" DROP COLUMN "policy";

-- CreateIndex
CREATE INDEX "AgentGraphExecution_status_id_idx" ON "AgentGraphExecution"("status", "id");
