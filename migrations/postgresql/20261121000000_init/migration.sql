-- CreateTable
CREATE TABLE "User" (
    "id" TEXT NOT NULL,
    "email" TEXT NOT NULL,
    "name" TEXT,
    "timezone" TEXT NOT NULL DEFAULT 'UTC',
    "createdAt" TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "updatedAt" TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,

    CONSTRAINT "User_pkey" PRIMARY KEY ("id")
);

-- CreateTable
CREATE TABLE "AgentGraph" (
    "id" TEXT NOT NULL,
    "version" INTEGER NOT NULL,
    "name" TEXT NOT NULL,
    "description" TEXT NOT NULL DEFAULT '',
    "isActive" BOOLEAN NOT NULL DEFAULT true,
    "isTemplate" BOOLEAN NOT NULL DEFAULT false,
    "userId" TEXT NOT NULL,
    "createdAt" TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "updatedAt" TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "deletedAt" TIMESTAMP(3),

    CONSTRAINT "AgentGraph_pkey" PRIMARY KEY ("id","version")
);

-- CreateTable
CREATE TABLE "AgentNode" (
    "id" TEXT NOT NULL,
    "agentGraphId" TEXT NOT NULL,
    "agentGraphVersion" INTEGER NOT NULL,
    "agentBlockName" TEXT NOT NULL,
    "constantInput" TEXT NOT NULL DEFAULT '{}',
    "metadata" TEXT NOT NULL DEFAULT '{}',

    CONSTRAINT "AgentNode_pkey" PRIMARY KEY ("agentGraphId","agentGraphVersion","id")
);

-- CreateTable
CREATE TABLE "AgentNodeLink" (
    "id" TEXT NOT NULL,
    "agentGraphId" TEXT NOT NULL,
    "agentGraphVersion" INTEGER NOT NULL,
    "agentNodeSourceId" TEXT NOT NULL,
    "sourceName" TEXT NOT NULL,
    "agentNodeSinkId" TEXT NOT NULL,
    "sinkName" TEXT NOT NULL,
    "isStatic" BOOLEAN NOT NULL DEFAULT false,

    CONSTRAINT "AgentNodeLink_pkey" PRIMARY KEY ("agentGraphId","agentGraphVersion","id")
);

-- CreateTable
CREATE TABLE "AgentBlock" (
    "name" TEXT NOT NULL,
    "id" TEXT NOT NULL,
    "description" TEXT NOT NULL DEFAULT '',
    "inputSchema" TEXT NOT NULL,
    "outputSchema" TEXT NOT NULL,
    "createdAt" TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "updatedAt" TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,

    CONSTRAINT "AgentBlock_pkey" PRIMARY KEY ("name")
);

-- CreateTable
CREATE TABLE "AgentGraphExecution" (
    "id" TEXT NOT NULL,
    "agentGraphId" TEXT NOT NULL,
    "agentGraphVersion" INTEGER NOT NULL,
    "userId" TEXT NOT NULL,
    "status" TEXT NOT NULL DEFAULT 'INCOMPLETE',
    "inputs" TEXT NOT NULL DEFAULT '{}',
    "outputs" TEXT,
    "stats" TEXT,
    "error" TEXT,
    "attempt" INTEGER NOT NULL DEFAULT 0,
    "deaths" INTEGER NOT NULL DEFAULT 0,
    "depth" INTEGER NOT NULL DEFAULT 0,
    "executor" TEXT,
    "revision" INTEGER NOT NULL DEFAULT 0,
    "stopRequestedAt" TIMESTAMP(3),
    "parentExecutionId" TEXT,
    "scheduleId" TEXT,
    "scheduledAt" TIMESTAMP(3),
    "idempotencyKey" TEXT,
    "createdAt" TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "startedAt" TIMESTAMP(3),
    "endedAt" TIMESTAMP(3),

    CONSTRAINT "AgentGraphExecution_pkey" PRIMARY KEY ("id")
);

-- CreateTable
CREATE TABLE "AgentNodeExecution" (
    "id" TEXT NOT NULL,
    "agentGraphExecutionId" TEXT NOT NULL,
    "agentNodeId" TEXT NOT NULL,
    "sequence" INTEGER,
    "status" TEXT NOT NULL,
    "inputData" TEXT NOT NULL,
    "outputData" TEXT,
    "error" TEXT,
    "attempt" INTEGER NOT NULL DEFAULT 1,
    "revision" INTEGER NOT NULL DEFAULT 0,
    "queuedAt" TIMESTAMP(3),
    "startedAt" TIMESTAMP(3),
    "endedAt" TIMESTAMP(3),

    CONSTRAINT "AgentNodeExecution_pkey" PRIMARY KEY ("id")
);

-- CreateTable
CREATE TABLE "Executor" (
    "id" TEXT NOT NULL,
    "epoch" INTEGER NOT NULL DEFAULT 1,
    "beat" INTEGER NOT NULL DEFAULT 0,
    "host" TEXT NOT NULL,
    "pid" INTEGER NOT NULL,
    "startedAt" TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,

    CONSTRAINT "Executor_pkey" PRIMARY KEY ("id")
);

-- CreateIndex
CREATE UNIQUE INDEX "User_email_key" ON "User"("email");

-- CreateIndex
CREATE INDEX "AgentGraph_userId_isActive_createdAt_idx" ON "AgentGraph"("userId", "isActive", "createdAt");

-- CreateIndex
CREATE UNIQUE INDEX "AgentNodeLink_agentGraphId_agentGraphVersion_agentNodeSourc_key" ON "AgentNodeLink"("agentGraphId", "agentGraphVersion", "agentNodeSourceId", "sourceName", "agentNodeSinkId", "sinkName");

-- CreateIndex
CREATE UNIQUE INDEX "AgentBlock_id_key" ON "AgentBlock"("id");

-- CreateIndex
CREATE INDEX "AgentGraphExecution_status_id_idx" ON "AgentGraphExecution"("status", "id");

-- CreateIndex
CREATE INDEX "AgentGraphExecution_agentGraphId_id_idx" ON "AgentGraphExecution"("agentGraphId", "id");

-- CreateIndex
CREATE INDEX "AgentGraphExecution_userId_id_idx" ON "AgentGraphExecution"("userId", "id");

-- CreateIndex
CREATE INDEX "AgentGraphExecution_parentExecutionId_idx" ON "AgentGraphExecution"("parentExecutionId");

-- CreateIndex
CREATE UNIQUE INDEX "AgentGraphExecution_scheduleId_scheduledAt_key" ON "AgentGraphExecution"("scheduleId", "scheduledAt");

-- CreateIndex
CREATE UNIQUE INDEX "AgentGraphExecution_userId_idempotencyKey_key" ON "AgentGraphExecution"("userId", "idempotencyKey");

-- CreateIndex
CREATE UNIQUE INDEX "AgentNodeExecution_agentGraphExecutionId_sequence_key" ON "AgentNodeExecution"("agentGraphExecutionId", "sequence");

-- AddForeignKey
ALTER TABLE "AgentGraph" ADD CONSTRAINT "AgentGraph_userId_fkey" FOREIGN KEY ("userId") REFERENCES "User"("id") ON DELETE RESTRICT ON UPDATE CASCADE;

-- AddForeignKey
ALTER TABLE "AgentNode" ADD CONSTRAINT "AgentNode_agentGraphId_agentGraphVersion_fkey" FOREIGN KEY ("agentGraphId", "agentGraphVersion") REFERENCES "AgentGraph"("id", "version") ON DELETE CASCADE ON UPDATE CASCADE;

-- AddForeignKey
ALTER TABLE "AgentNode" ADD CONSTRAINT "AgentNode_agentBlockName_fkey" FOREIGN KEY ("agentBlockName") REFERENCES "AgentBlock"("name") ON DELETE RESTRICT ON UPDATE CASCADE;

-- AddForeignKey
ALTER TABLE "AgentNodeLink" ADD CONSTRAINT "AgentNodeLink_agentGraphId_agentGraphVersion_fkey" FOREIGN KEY ("agentGraphId", "agentGraphVersion") REFERENCES "AgentGraph"("id", "version") ON DELETE CASCADE ON UPDATE CASCADE;

-- AddForeignKey
ALTER TABLE "AgentNodeLink" ADD CONSTRAINT "AgentNodeLink_agentGraphId_agentGraphVersion_agentNodeSour_fkey" FOREIGN KEY ("agentGraphId", "agentGraphVersion", "agentNodeSourceId") REFERENCES "AgentNode"("agentGraphId", "agentGraphVersion", "id") ON DELETE CASCADE ON UPDATE CASCADE;

-- AddForeignKey
ALTER TABLE "AgentNodeLink" ADD CONSTRAINT "AgentNodeLink_agentGraphId_agentGraphVersion_agentNodeSink_fkey" FOREIGN KEY ("agentGraphId", "agentGraphVersion", "agentNodeSinkId") REFERENCES "AgentNode"("agentGraphId", "agentGraphVersion", "id") ON DELETE CASCADE ON UPDATE CASCADE;

-- AddForeignKey
ALTER TABLE "AgentGraphExecution" ADD CONSTRAINT "AgentGraphExecution_agentGraphId_agentGraphVersion_fkey" FOREIGN KEY ("agentGraphId", "agentGraphVersion") REFERENCES "AgentGraph"("id", "version") ON DELETE RESTRICT ON UPDATE CASCADE;

-- AddForeignKey
ALTER TABLE "AgentGraphExecution" ADD CONSTRAINT "AgentGraphExecution_userId_fkey" FOREIGN KEY ("userId") REFERENCES "User"("id") ON DELETE RESTRICT ON UPDATE CASCADE;

-- AddForeignKey
ALTER TABLE "AgentNodeExecution" ADD CONSTRAINT "AgentNodeExecution_agentGraphExecutionId_fkey" FOREIGN KEY ("agentGraphExecutionId") REFERENCES "AgentGraphExecution"("id") ON DELETE CASCADE ON UPDATE CASCADE;
