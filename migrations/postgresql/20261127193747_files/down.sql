-- DropForeignKey
ALTER TABLE "FileDefinition" DROP CONSTRAINT "FileDefinition_userId_fkey";

-- DropTable
DROP TABLE "FileDefinition";
