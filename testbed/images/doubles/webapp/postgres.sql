-- SPDX-License-Identifier: MIT
-- The tables and columns that the double uses, named as Prisma names them. Timestamps are UTC without a zone, and
-- neither ids nor "updatedAt" have defaults in the real schema: whoever inserts supplies both.
CREATE TABLE IF NOT EXISTS "User" (
    id text PRIMARY KEY, email text NOT NULL UNIQUE, admin boolean NOT NULL DEFAULT false,
    "authenticationMethod" text NOT NULL, "confirmedBasicDetails" boolean NOT NULL DEFAULT false,
    "createdAt" timestamp NOT NULL DEFAULT (clock_timestamp() AT TIME ZONE 'UTC'), "updatedAt" timestamp NOT NULL
);
CREATE TABLE IF NOT EXISTS "Organization" (
    id text PRIMARY KEY, slug text NOT NULL UNIQUE, title text NOT NULL,
    "createdAt" timestamp NOT NULL DEFAULT (clock_timestamp() AT TIME ZONE 'UTC'), "updatedAt" timestamp NOT NULL
);
CREATE TABLE IF NOT EXISTS "OrgMember" (
    id text PRIMARY KEY, "organizationId" text NOT NULL REFERENCES "Organization" (id) ON DELETE CASCADE,
    "userId" text NOT NULL REFERENCES "User" (id) ON DELETE CASCADE, role text NOT NULL DEFAULT 'ADMIN',
    "createdAt" timestamp NOT NULL DEFAULT (clock_timestamp() AT TIME ZONE 'UTC'), "updatedAt" timestamp NOT NULL,
    UNIQUE ("organizationId", "userId")
);
CREATE TABLE IF NOT EXISTS "Project" (
    id text PRIMARY KEY, slug text NOT NULL UNIQUE, name text NOT NULL, "externalRef" text NOT NULL UNIQUE,
    "organizationId" text NOT NULL REFERENCES "Organization" (id) ON DELETE CASCADE,
    "defaultWorkerGroupId" text,
    "createdAt" timestamp NOT NULL DEFAULT (clock_timestamp() AT TIME ZONE 'UTC'), "updatedAt" timestamp NOT NULL
);
CREATE TABLE IF NOT EXISTS "RuntimeEnvironment" (
    id text PRIMARY KEY, slug text NOT NULL, "apiKey" text NOT NULL UNIQUE, "pkApiKey" text NOT NULL UNIQUE,
    type text NOT NULL, "projectId" text NOT NULL REFERENCES "Project" (id) ON DELETE CASCADE,
    "organizationId" text NOT NULL REFERENCES "Organization" (id) ON DELETE CASCADE,
    "createdAt" timestamp NOT NULL DEFAULT (clock_timestamp() AT TIME ZONE 'UTC'), "updatedAt" timestamp NOT NULL
);
CREATE TABLE IF NOT EXISTS "PersonalAccessToken" (
    id text PRIMARY KEY, name text NOT NULL, "encryptedToken" jsonb NOT NULL, "obfuscatedToken" text NOT NULL,
    "hashedToken" text NOT NULL UNIQUE, "userId" text NOT NULL REFERENCES "User" (id) ON DELETE CASCADE,
    "revokedAt" timestamp, "lastAccessedAt" timestamp,
    "createdAt" timestamp NOT NULL DEFAULT (clock_timestamp() AT TIME ZONE 'UTC'), "updatedAt" timestamp NOT NULL
);
CREATE TABLE IF NOT EXISTS "AuthorizationCode" (
    id text PRIMARY KEY, code text NOT NULL UNIQUE,
    "personalAccessTokenId" text REFERENCES "PersonalAccessToken" (id) ON DELETE CASCADE,
    "createdAt" timestamp NOT NULL DEFAULT (clock_timestamp() AT TIME ZONE 'UTC'), "updatedAt" timestamp NOT NULL
);
CREATE TABLE IF NOT EXISTS "FeatureFlag" (id text PRIMARY KEY, key text NOT NULL UNIQUE, value jsonb);
CREATE TABLE IF NOT EXISTS "WorkerGroupToken" (
    id text PRIMARY KEY, "tokenHash" text NOT NULL UNIQUE,
    "createdAt" timestamp NOT NULL DEFAULT (clock_timestamp() AT TIME ZONE 'UTC'), "updatedAt" timestamp NOT NULL
);
CREATE TABLE IF NOT EXISTS "WorkerInstanceGroup" (
    id text PRIMARY KEY, type text NOT NULL, name text NOT NULL, "masterQueue" text NOT NULL UNIQUE,
    description text, hidden boolean NOT NULL DEFAULT false,
    "tokenId" text NOT NULL UNIQUE REFERENCES "WorkerGroupToken" (id) ON DELETE CASCADE,
    "projectId" text, "organizationId" text,
    "createdAt" timestamp NOT NULL DEFAULT (clock_timestamp() AT TIME ZONE 'UTC'), "updatedAt" timestamp NOT NULL
);
CREATE TABLE IF NOT EXISTS "WorkerInstance" (
    id text PRIMARY KEY, name text NOT NULL, "resourceIdentifier" text NOT NULL, metadata jsonb,
    "workerGroupId" text NOT NULL REFERENCES "WorkerInstanceGroup" (id) ON DELETE CASCADE,
    "lastDequeueAt" timestamp, "lastHeartbeatAt" timestamp,
    "createdAt" timestamp NOT NULL DEFAULT (clock_timestamp() AT TIME ZONE 'UTC'), "updatedAt" timestamp NOT NULL,
    UNIQUE ("workerGroupId", "resourceIdentifier")
);
CREATE TABLE IF NOT EXISTS "WorkerDeployment" (
    id text PRIMARY KEY, "friendlyId" text NOT NULL UNIQUE, "contentHash" text NOT NULL, "shortCode" text NOT NULL,
    version text NOT NULL, status text NOT NULL, "imageReference" text,
    "projectId" text NOT NULL REFERENCES "Project" (id) ON DELETE CASCADE,
    "environmentId" text NOT NULL REFERENCES "RuntimeEnvironment" (id) ON DELETE CASCADE,
    "deployedAt" timestamp, "errorData" jsonb,
    "createdAt" timestamp NOT NULL DEFAULT (clock_timestamp() AT TIME ZONE 'UTC'), "updatedAt" timestamp NOT NULL,
    UNIQUE ("environmentId", version)
);
CREATE TABLE IF NOT EXISTS "TaskRun" (
    id text PRIMARY KEY, "friendlyId" text NOT NULL UNIQUE, status text NOT NULL, "taskIdentifier" text NOT NULL,
    payload text NOT NULL, "payloadType" text NOT NULL, output text, "outputType" text, error jsonb,
    "runtimeEnvironmentId" text NOT NULL REFERENCES "RuntimeEnvironment" (id) ON DELETE CASCADE,
    "environmentType" text NOT NULL,
    "projectId" text NOT NULL REFERENCES "Project" (id) ON DELETE CASCADE, "organizationId" text NOT NULL,
    queue text NOT NULL, "masterQueue" text NOT NULL, "workerQueue" text NOT NULL, "machinePreset" text NOT NULL,
    engine text NOT NULL DEFAULT 'V2', "attemptNumber" integer, "lockedAt" timestamp, "lockedToVersionId" text,
    "startedAt" timestamp, "executedAt" timestamp, "completedAt" timestamp,
    "createdAt" timestamp NOT NULL DEFAULT (clock_timestamp() AT TIME ZONE 'UTC'), "updatedAt" timestamp NOT NULL
);
ALTER TABLE "TaskRun" REPLICA IDENTITY FULL;
CREATE TABLE IF NOT EXISTS "TaskRunExecutionSnapshot" (
    id text PRIMARY KEY, "runId" text NOT NULL REFERENCES "TaskRun" (id) ON DELETE CASCADE,
    "executionStatus" text NOT NULL, "runStatus" text NOT NULL, description text NOT NULL,
    "isValid" boolean NOT NULL DEFAULT true, error text, "attemptNumber" integer,
    "workerId" text REFERENCES "WorkerInstance" (id) ON DELETE SET NULL, "runnerId" text, "lastHeartbeatAt" timestamp,
    "createdAt" timestamp NOT NULL DEFAULT (clock_timestamp() AT TIME ZONE 'UTC'), "updatedAt" timestamp NOT NULL
);
CREATE INDEX IF NOT EXISTS "TaskRunExecutionSnapshot_runId_createdAt_idx"
    ON "TaskRunExecutionSnapshot" ("runId", "createdAt" DESC);
CREATE TABLE IF NOT EXISTS "_prisma_migrations" (
    id text PRIMARY KEY, migration_name text NOT NULL UNIQUE, finished_at timestamptz NOT NULL DEFAULT now()
);
INSERT INTO "_prisma_migrations" (id, migration_name) VALUES ('1', 'double_4_2_0') ON CONFLICT DO NOTHING;
