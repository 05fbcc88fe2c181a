-- CreateTable
CREATE TABLE "User" (
    "id" TEXT NOT NULL PRIMARY KEY,
    "email" TEXT NOT NULL,
    "name" TEXT,
    "timezone" TEXT NOT NULL DEFAULT 'UTC',
    "createdAt" DATETIME NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "updatedAt" DATETIME NOT NULL DEFAULT CURRENT_TIMESTAMP
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
    "createdAt" DATETIME NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "updatedAt" DATETIME NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "deletedAt" DATETIME,

    PRIMARY KEY ("id", "version"),
    CONSTRAINT "AgentGraph_userId_fkey" FOREIGN KEY ("userId") REFERENCES "User" ("id") ON DELETE RESTRICT ON UPDATE CASCADE
);

-- CreateTable
CREATE TABLE "AgentNode" (
    "id" TEXT NOT NULL,
    "agentGraphId" TEXT NOT NULL,
    "agentGraphVersion" INTEGER NOT NULL,
    "agentBlockName" TEXT NOT NULL,
    "constantInput" TEXT NOT NULL DEFAULT '{}',
    "metadata" TEXT NOT NULL DEFAULT '{}',

    PRIMARY KEY ("agentGraphId", "agentGraphVersion", "id"),
    CONSTRAINT "AgentNode_agentGraphId_agentGraphVersion_fkey" FOREIGN KEY ("agentGraphId", "agentGraphVersion") REFERENCES "AgentGraph" ("id", "version") ON DELETE CASCADE ON UPDATE CASCADE,
    CONSTRAINT "AgentNode_agentBlockName_fkey" FOREIGN KEY ("agentBlockName") REFERENCES "AgentBlock" ("name") ON DELETE RESTRICT ON UPDATE CASCADE
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

    PRIMARY KEY ("agentGraphId", "agentGraphVersion", "id"),
    CONSTRAINT "AgentNodeLink_agentGraphId_agentGraphVersion_fkey" FOREIGN KEY ("agentGraphId", "agentGraphVersion") REFERENCES "AgentGraph" ("id", "version") ON DELETE CASCADE ON UPDATE CASCADE,
    CONSTRAINT "AgentNodeLink_agentGraphId_agentGraphVersion_agentNodeSourceId_fkey" FOREIGN KEY ("agentGraphId", "agentGraphVersion", "agentNodeSourceId") REFERENCES "AgentNode" ("agentGraphId", "agentGraphVersion", "id") ON DELETE CASCADE ON UPDATE CASCADE,
    CONSTRAINT "AgentNodeLink_agentGraphId_agentGraphVersion_agentNodeSinkId_fkey" FOREIGN KEY ("agentGraphId", "agentGraphVersion", "agentNodeSinkId") REFERENCES "AgentNode" ("agentGraphId", "agentGraphVersion", "id") ON DELETE CASCADE ON UPDATE CASCADE
);

-- CreateTable
CREATE TABLE "AgentBlock" (
    "name" TEXT NOT NULL PRIMARY KEY,
    "id" TEXT NOT NULL,
    "description" TEXT NOT NULL DEFAULT '',
    "inputSchema" TEXT NOT NULL,
    "outputSchema" TEXT NOT NULL,
    "createdAt" DATETIME NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "updatedAt" DATETIME NOT NULL DEFAULT CURRENT_TIMESTAMP
);

-- CreateTable
CREATE TABLE "AgentGraphExecution" (
    "id" TEXT NOT NULL PRIMARY KEY,
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
    "stopRequestedAt" DATETIME,
    "parentExecutionId" TEXT,
    "scheduleId" TEXT,
    "scheduledAt" DATETIME,
    "idempotencyKey" TEXT,
    "createdAt" DATETIME NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "startedAt" DATETIME,
    "endedAt" DATETIME,
    CONSTRAINT "AgentGraphExecution_agentGraphId_agentGraphVersion_fkey" FOREIGN KEY ("agentGraphId", "agentGraphVersion") REFERENCES "AgentGraph" ("id", "version") ON DELETE RESTRICT ON UPDATE CASCADE,
    CONSTRAINT "AgentGraphExecution_userId_fkey" FOREIGN KEY ("userId") REFERENCES "User" ("id") ON DELETE RESTRICT ON UPDATE CASCADE
);

-- CreateTable
CREATE TABLE "AgentNodeExecution" (
    "id" TEXT NOT NULL PRIMARY KEY,
    "agentGraphExecutionId" TEXT NOT NULL,
    "agentNodeId" TEXT NOT NULL,
    "sequence" INTEGER,
    "status" TEXT NOT NULL,
    "inputData" TEXT NOT NULL,
    "outputData" TEXT,
    "error" TEXT,
    "attempt" INTEGER NOT NULL DEFAULT 1,
    "revision" INTEGER NOT NULL DEFAULT 0,
    "queuedAt" DATETIME,
    "startedAt" DATETIME,
    "endedAt" DATETIME,
    CONSTRAINT "AgentNodeExecution_agentGraphExecutionId_fkey" FOREIGN KEY ("agentGraphExecutionId") REFERENCES "AgentGraphExecution" ("id") ON DELETE CASCADE ON UPDATE CASCADE
);

-- CreateTable
CREATE TABLE "Executor" (
    "id" TEXT NOT NULL PRIMARY KEY,
    "epoch" INTEGER NOT NULL DEFAULT 1,
    "beat" INTEGER NOT NULL DEFAULT 0,
    "host" TEXT NOT NULL,
    "pid" INTEGER NOT NULL,
    "startedAt" DATETIME NOT NULL DEFAULT CURRENT_TIMESTAMP
);

-- CreateIndex
CREATE UNIQUE INDEX "User_email_key" ON "User"("email");

-- CreateIndex
CREATE INDEX "AgentGraph_userId_isActive_createdAt_idx" ON "AgentGraph"("userId", "isActive", "createdAt");

-- CreateIndex
CREATE UNIQUE INDEX "AgentNodeLink_agentGraphId_agentGraphVersion_agentNodeSourceId_sourceName_agentNodeSinkId_sinkName_key" ON "AgentNodeLink"("agentGraphId", "agentGraphVersion", "agentNodeSourceId", "sourceName", "agentNodeSinkId", "sinkName");

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
