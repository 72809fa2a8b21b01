ALTER TABLE "OpenaiBot" ADD COLUMN "description" VARCHAR(255);
