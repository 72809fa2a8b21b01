ALTER TABLE "OpenaiBot" ADD COLUMN "systemMessages" JSONB;
