-- DropForeignKey
ALTER TABLE "Credential" DROP CONSTRAINT "Credential_userId_fkey";

-- DropForeignKey
ALTER TABLE "OAuthLogin" DROP CONSTRAINT "OAuthLogin_userId_fkey";

-- DropTable
DROP TABLE "Credential";

-- DropTable
DROP TABLE "OAuthLogin";
