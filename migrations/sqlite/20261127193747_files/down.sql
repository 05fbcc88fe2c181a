-- DropTable
PRAGMA foreign_keys=off;
DROP TABLE "FileDefinition";
PRAGMA foreign_keys=on;
