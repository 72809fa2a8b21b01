ALTER TABLE "OpenaiCreds" ADD COLUMN "name" VARCHAR(255),
ALTER COLUMN "apiKey" DROP NOT NULL;
CREATE UNIQUE INDEX "OpenaiCreds_name_key" ON "OpenaiCreds"("name");
