-- DropTable
DROP TABLE "BlockExecutionCount";

-- DropTable
DROP TABLE "SystemTaskRun";

-- DropTable
DROP TABLE "Alert";
