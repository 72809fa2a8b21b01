CREATE TABLE "IsOnWhatsapp" (
    "id" TEXT NOT NULL,
    "remoteJid" VARCHAR(100) NOT NULL,
    "lid" VARCHAR(100),
    CONSTRAINT "IsOnWhatsapp_pkey" PRIMARY KEY ("id")
);
