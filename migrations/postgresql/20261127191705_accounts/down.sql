-- DropForeignKey
ALTER TABLE "ApiKey" DROP CONSTRAINT "ApiKey_userId_fkey";

-- AlterTable
ALTER TABLE "User" DROP COLUMN "disabledAt",
DROP COLUMN "role";

-- DropTable
DROP TABLE "ApiKey";
