-- DropTable
PRAGMA foreign_keys=off;
DROP TABLE "AgentExecutionSchedule";
PRAGMA foreign_keys=on;

-- DropTable
PRAGMA foreign_keys=off;
DROP TABLE "AgentScheduleSlot";
PRAGMA foreign_keys=on;
