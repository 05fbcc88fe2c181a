-- DropIndex
DROP INDEX "ApiKey_prefix_key";

-- DropIndex
DROP INDEX "ApiKey_userId_id_idx";

-- DropTable
PRAGMA foreign_keys=off;
DROP TABLE "ApiKey";
PRAGMA foreign_keys=on;

-- AlterTable
ALTER TABLE "User" DROP COLUMN "role";
ALTER TABLE "User" DROP COLUMN "disabledAt";
