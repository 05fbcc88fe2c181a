-- DropForeignKey
ALTER TABLE "AgentGraph" DROP CONSTRAINT "AgentGraph_userId_fkey";

-- DropForeignKey
ALTER TABLE "AgentNode" DROP CONSTRAINT "AgentNode_agentGraphId_agentGraphVersion_fkey";

-- DropForeignKey
ALTER TABLE "AgentNode" DROP CONSTRAINT "AgentNode_agentBlockName_fkey";

-- DropForeignKey
ALTER TABLE "AgentNodeLink" DROP CONSTRAINT "AgentNodeLink_agentGraphId_agentGraphVersion_fkey";

-- DropForeignKey
ALTER TABLE "AgentNodeLink" DROP CONSTRAINT "AgentNodeLink_agentGraphId_agentGraphVersion_agentNodeSour_fkey";

-- DropForeignKey
ALTER TABLE "AgentNodeLink" DROP CONSTRAINT "AgentNodeLink_agentGraphId_agentGraphVersion_agentNodeSink_fkey";

-- DropForeignKey
ALTER TABLE "AgentGraphExecution" DROP CONSTRAINT "AgentGraphExecution_agentGraphId_agentGraphVersion_fkey";

-- DropForeignKey
ALTER TABLE "AgentGraphExecution" DROP CONSTRAINT "AgentGraphExecution_userId_fkey";

-- DropForeignKey
ALTER TABLE "AgentNodeExecution" DROP CONSTRAINT "AgentNodeExecution_agentGraphExecutionId_fkey";

-- DropTable
DROP TABLE "User";

-- DropTable
DROP TABLE "AgentGraph";

-- DropTable
DROP TABLE "AgentNode";

-- DropTable
DROP TABLE "AgentNodeLink";

-- DropTable
DROP TABLE "AgentBlock";

-- DropTable
DROP TABLE "AgentGraphExecution";

-- DropTable
DROP TABLE "AgentNodeExecution";

-- DropTable
DROP TABLE "Executor";
