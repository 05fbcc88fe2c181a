-- DropTable
DROP TABLE "AgentExecutionSchedule";

-- DropTable
DROP TABLE "AgentScheduleSlot";
