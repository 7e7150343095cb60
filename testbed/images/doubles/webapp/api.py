# SPDX-License-Identifier: MIT
"""The HTTP API for people (PAT), for tasks and deployments (environment key), and for workers (group token)."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from aiohttp import ClientError, WSCloseCode, web

from doubles import socketio
from doubles.webapp.clickhouse import ClickHouseError, query
from doubles.webapp.database import Cursor, Row, insert
from doubles.webapp.ids import LOWER, decrypt, identifier, random_text, sha256, utc_now
from doubles.webapp.log import log
from doubles.webapp.login import slugify
from doubles.webapp.objectstore import ObjectStore, upload
from doubles.webapp.runs import API_STATUS, MACHINES, RunEngine, RunError
from doubles.webapp.state import State, compact, reply
from doubles.webapp.worker_auth import REFUSED, Worker, WorkerAuthentication, default_group, make_group

STARTED = int(time.time())

# slug, type and key prefix of the environments that every project gets.
ENVIRONMENTS = (("prod", "PRODUCTION", "tr_prod_", "pk_prod_"), ("dev", "DEVELOPMENT", "tr_dev_", "pk_dev_"))
ACTIONS = "/engine/v1/worker-actions"
RUN = ACTIONS + "/runs/{run}/snapshots/{snapshot}"


def image_tag(host: str, namespace: str, project: str, version: str, environment: str, short_code: str) -> str:
    return f"{host}/{namespace}/{project}:{version}.{environment}.{short_code}"


def bearer(request: web.Request) -> str:
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    return token if scheme == "Bearer" else ""


def refusal(message: str, status: int = 401) -> web.HTTPException:
    kinds: dict[int, type[web.HTTPException]] = {
        400: web.HTTPBadRequest, 401: web.HTTPUnauthorized, 403: web.HTTPForbidden, 404: web.HTTPNotFound,
        422: web.HTTPUnprocessableEntity, 500: web.HTTPInternalServerError,
    }  # fmt: skip
    return kinds[status](text=json.dumps({"error": message}), content_type="application/json")


async def json_body(request: web.Request) -> Row:
    try:
        body = await request.json()
    except ValueError:
        raise refusal("Invalid request body", 400) from None
    if not isinstance(body, dict):
        raise refusal("Invalid request body", 400)
    return body


def iso(moment: Any) -> str | None:
    return moment.isoformat(timespec="milliseconds") + "Z" if moment else None


def project_view(project: Row, organization: Row) -> Row:
    return {
        "id": project["id"], "externalRef": project["externalRef"], "name": project["name"],
        "slug": project["slug"], "createdAt": iso(project["createdAt"]),
        "organization": {"id": organization["id"], "title": organization["title"], "slug": organization["slug"],
                         "createdAt": iso(organization["createdAt"])},
    }  # fmt: skip


def run_view(run: Row) -> Row:
    started, finished = run["startedAt"], run["completedAt"]
    output = run["output"]
    return {
        "id": run["friendlyId"], "status": API_STATUS.get(run["status"], run["status"]),
        "taskIdentifier": run["taskIdentifier"], "attemptCount": run["attemptNumber"] or 0,
        "createdAt": iso(run["createdAt"]), "updatedAt": iso(run["updatedAt"]), "startedAt": iso(started),
        "finishedAt": iso(finished),
        "durationMs": int((finished - started).total_seconds() * 1000) if started and finished else 0,
        "payload": json.loads(run["payload"]) if run["payloadType"] == "application/json" else None,
        "output": json.loads(output) if output and run["outputType"] == "application/json" else None,
        "error": run["error"], "isCompleted": finished is not None,
        "isSuccess": run["status"] == "COMPLETED_SUCCESSFULLY",
    }  # fmt: skip


@dataclass
class Api:
    state: State
    engine: RunEngine
    workers: WorkerAuthentication
    store: ObjectStore | None

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/healthcheck", self.healthcheck),
            web.get("/metrics", self.metrics),
            web.post("/otel/v1/traces", self.otel),
            web.post("/otel/v1/logs", self.otel),
            web.get("/socket.io/", self.socket),
            web.get("/ws", self.developer_socket),
            web.get("/api/v2/whoami", self.whoami),
            web.get("/api/v1/orgs", self.organizations),
            web.get("/api/v1/projects", self.projects),
            web.post("/api/v1/orgs/{org}/projects", self.make_project),
            web.get("/api/v1/projects/{project}/{environment}", self.environment_key),
            web.post("/admin/api/v1/workers", self.make_worker_group),
            web.post("/api/v1/deployments", self.make_deployment),
            web.post("/api/v3/deployments/{deployment}/finalize", self.finalize_deployment),
            web.post("/api/v1/tasks/{task}/trigger", self.trigger),
            web.get("/api/v1/runs", self.runs),
            web.get("/api/v3/runs/{run}", self.run),
            web.put("/api/v1/packets/{name:.+}", self.packet),
            web.get("/api/v1/packets/{name:.+}", self.packet),
            web.post(f"{ACTIONS}/connect", self.as_worker(self.connect)),
            web.post(f"{ACTIONS}/dequeue", self.as_worker(self.dequeue)),
            web.post(f"{ACTIONS}/heartbeat", self.as_worker(self.worker_heartbeat)),
            web.post(f"{RUN}/attempts/start", self.as_worker(self.start)),
            web.post(f"{RUN}/attempts/complete", self.as_worker(self.complete)),
            web.post(f"{RUN}/heartbeat", self.as_worker(self.run_heartbeat)),
            web.get(ACTIONS + "/runs/{run}/snapshots/latest", self.as_worker(self.latest)),
        ]

    # --- operation -----------------------------------------------------------------------------------------------

    async def healthcheck(self, request: web.Request) -> web.Response:
        """Looks at Postgres and at nothing else."""
        if self.state.environment.get("HEALTHCHECK_DATABASE_DISABLED") == "1":
            return web.Response(text="OK")
        try:
            await self.state.database.one("SELECT 1")
        except Exception as failure:
            log("error", "healthcheck failed", error=str(failure))
            return web.Response(text="ERROR", status=500)
        return web.Response(text="OK")

    async def metrics(self, request: web.Request) -> web.Response:
        password = self.state.environment.get("TRIGGER_METRICS_AUTH_PASSWORD")
        if password and request.headers.get("Authorization") != f"Bearer {password}":
            return web.Response(text="Unauthorized", status=401)
        lines = [f"trigger_double_{name}_total {value}\n" for name, value in sorted(self.state.counters.items())]
        # Of the genuine one's own those that this one has: when it began, and that no log of a task was dropped.
        lines += [
            "# TYPE process_start_time_seconds gauge\n",
            f"process_start_time_seconds {STARTED}\n",
            "# TYPE event_flush_scheduler_dropped_events gauge\n",
            "event_flush_scheduler_dropped_events 0\n",
        ]
        return web.Response(text="".join(lines))

    async def otel(self, request: web.Request) -> web.Response:
        """Nobody is asked who they are."""
        body = await request.read()
        if request.content_type == "application/json":
            try:
                json.loads(body)
            except ValueError:
                raise refusal("Invalid request body", 400) from None
        elif request.content_type != "application/x-protobuf":
            text = "Unsupported content type. Must be either application/x-protobuf or application/json"
            return web.Response(text=text, status=400)
        self.state.count("otel_" + request.path.rsplit("/", 1)[-1])
        return reply({})

    async def socket(self, request: web.Request) -> web.StreamResponse:
        worker = await self.workers.authenticate(request.headers)
        return await socketio.serve(request, "/worker", worker is not None)

    async def developer_socket(self, request: web.Request) -> web.StreamResponse:
        """For `trigger dev` of the old engine: whoever is not let in is told so after the upgrade."""
        if request.headers.get("Upgrade", "").lower() != "websocket":
            raise refusal("Not found", 404)
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await socket.close(code=WSCloseCode.POLICY_VIOLATION, message=b"Missing Authorization header")
        return socket

    # --- people --------------------------------------------------------------------------------------------------

    async def person(self, request: web.Request) -> Row:
        """A token counts only while it can be decrypted: another ENCRYPTION_KEY voids them all."""
        token = bearer(request)
        row = await self.state.database.one(
            'SELECT t."encryptedToken", u.* FROM "PersonalAccessToken" t JOIN "User" u ON u.id = t."userId" '
            'WHERE t."hashedToken" = %s AND t."revokedAt" IS NULL',
            (sha256(token),),
        )
        if (
            not token.startswith("tr_pat_")
            or row is None
            or (decrypt(self.state.settings.encryption_key, row["encryptedToken"]) != token)
        ):
            raise refusal("Invalid or Missing Access Token")
        return row

    async def whoami(self, request: web.Request) -> web.Response:
        user = await self.person(request)
        return reply({
            "userId": user["id"], "email": user["email"], "dashboardUrl": self.state.settings.app_origin
        })  # fmt: skip

    async def organizations(self, request: web.Request) -> web.Response:
        user = await self.person(request)
        rows = await self.state.database.all(
            'SELECT o.* FROM "Organization" o JOIN "OrgMember" m ON m."organizationId" = o.id '
            'WHERE m."userId" = %s ORDER BY o."createdAt"',
            (user["id"],),
        )
        return reply(
            [{"id": row["id"], "title": row["title"], "slug": row["slug"], "createdAt": iso(row["createdAt"])}
             for row in rows]
        )  # fmt: skip

    async def projects(self, request: web.Request) -> web.Response:
        user = await self.person(request)
        rows = await self.state.database.all(
            'SELECT p.*, o.title AS "orgTitle", o.slug AS "orgSlug", o."createdAt" AS "orgCreatedAt" FROM "Project" p '
            'JOIN "Organization" o ON o.id = p."organizationId" JOIN "OrgMember" m ON m."organizationId" = o.id '
            'WHERE m."userId" = %s ORDER BY p."createdAt"',
            (user["id"],),
        )
        return reply(
            [
                project_view(
                    row,
                    {"id": row["organizationId"], "title": row["orgTitle"], "slug": row["orgSlug"],
                     "createdAt": row["orgCreatedAt"]},
                )
                for row in rows
            ]
        )  # fmt: skip

    async def make_project(self, request: web.Request) -> web.Response:
        """Not idempotent: the same call makes another project."""
        user = await self.person(request)
        body = await json_body(request)
        name = str(body.get("name", "")).strip()
        if not name:
            raise refusal("Project name is required", 400)
        wanted = request.match_info["org"]

        def job(cursor: Cursor) -> tuple[Row, Row] | None:
            cursor.execute(
                'SELECT o.* FROM "Organization" o JOIN "OrgMember" m ON m."organizationId" = o.id '
                'WHERE m."userId" = %s AND (o.slug = %s OR o.id = %s)',
                (user["id"], wanted, wanted),
            )
            row = cursor.fetchone()
            if row is None:
                return None
            organization = dict(row)
            project = insert(
                cursor,
                "Project",
                id=identifier(),
                slug=f"{slugify(name)}-{random_text(4)}",
                name=name,
                externalRef=f"proj_{random_text(20, LOWER)}",
                organizationId=organization["id"],
            )
            for slug, kind, key, public in ENVIRONMENTS:
                insert(
                    cursor,
                    "RuntimeEnvironment",
                    id=identifier(),
                    slug=slug,
                    type=kind,
                    apiKey=key + random_text(20),
                    pkApiKey=public + random_text(20),
                    projectId=project["id"],
                    organizationId=organization["id"],
                )
            return organization, project

        made = await self.state.database.transaction(job)
        if made is None:
            raise refusal("Organization not found", 404)
        organization, project = made
        return reply(project_view(project, organization))

    async def environment_key(self, request: web.Request) -> web.Response:
        user = await self.person(request)
        row = await self.state.database.one(
            'SELECT e."apiKey", p.id FROM "RuntimeEnvironment" e JOIN "Project" p ON p.id = e."projectId" '
            'JOIN "OrgMember" m ON m."organizationId" = p."organizationId" '
            'WHERE m."userId" = %s AND p."externalRef" = %s AND e.slug = %s',
            (user["id"], request.match_info["project"], request.match_info["environment"]),
        )
        if row is None:
            raise refusal("Project not found", 404)
        return reply({"apiKey": row["apiKey"], "apiUrl": self.state.settings.api_origin, "projectId": row["id"]})

    async def make_worker_group(self, request: web.Request) -> web.Response:
        user = await self.person(request)
        if not user["admin"]:
            raise refusal("You must be an admin to perform this action", 403)
        body = await json_body(request)
        name = str(body.get("name") or f"group-{random_text(6, LOWER)}")
        found = await self.state.database.one('SELECT * FROM "WorkerInstanceGroup" WHERE name = %s', (name,))
        if found:
            group = {"id": found["id"], "name": found["name"]}
            return reply({"error": "worker group already exists", "workerGroup": group}, status=400)
        group, token, token_id = await self.state.database.transaction(
            lambda cursor: make_group(cursor, name, body.get("description"))
        )
        return reply({
            "outcome": "created new worker group",
            "token": {"id": token_id, "tokenHash": sha256(token), "plaintext": token},
            "workerGroup": {"id": group["id"], "name": group["name"], "masterQueue": group["masterQueue"]},
        })  # fmt: skip

    # --- deployments and runs --------------------------------------------------------------------------------------

    async def environment(self, request: web.Request) -> Row:
        key = bearer(request)
        row = await self.state.database.one(
            'SELECT e.*, p."externalRef" FROM "RuntimeEnvironment" e JOIN "Project" p ON p.id = e."projectId" '
            'WHERE e."apiKey" = %s',
            (key,),
        )
        if not key or row is None:
            raise refusal("Invalid or Missing API key")
        return row

    async def make_deployment(self, request: web.Request) -> web.Response:
        environment = await self.environment(request)
        content_hash = (await json_body(request)).get("contentHash")
        if not isinstance(content_hash, str) or not content_hash:
            raise refusal("Invalid request body", 400)
        config = self.state.settings
        today, short_code, identity = utc_now().strftime("%Y%m%d"), random_text(8, LOWER), identifier()

        def job(cursor: Cursor) -> Row:
            cursor.execute('SELECT 1 FROM "RuntimeEnvironment" WHERE id = %s FOR UPDATE', (environment["id"],))
            cursor.execute(
                'SELECT count(*) AS n FROM "WorkerDeployment" WHERE "environmentId" = %s AND version LIKE %s',
                (environment["id"], f"{today}.%"),
            )
            version = f"{today}.{cursor.fetchone()['n'] + 1}"
            tag = image_tag(
                config.registry_host,
                config.registry_namespace,
                environment["externalRef"],
                version,
                environment["type"].lower(),
                short_code,
            )
            return insert(
                cursor,
                "WorkerDeployment",
                id=identity,
                friendlyId=f"deployment_{identity}",
                contentHash=content_hash,
                shortCode=short_code,
                version=version,
                status="BUILDING",
                imageReference=tag,
                projectId=environment["projectId"],
                environmentId=environment["id"],
            )

        made = await self.state.database.transaction(job)
        return reply({
            "id": made["id"], "friendlyId": made["friendlyId"], "version": made["version"],
            "shortCode": made["shortCode"], "contentHash": content_hash, "imageTag": made["imageReference"],
        })  # fmt: skip

    async def finalize_deployment(self, request: web.Request) -> web.Response:
        environment = await self.environment(request)
        digest = (await json_body(request)).get("imageDigest")
        wanted = request.match_info["deployment"]
        row = await self.state.database.one(
            'UPDATE "WorkerDeployment" SET status = \'DEPLOYED\', "imageReference" = "imageReference" || %s, '
            "\"deployedAt\" = clock_timestamp() AT TIME ZONE 'UTC', "
            "\"updatedAt\" = clock_timestamp() AT TIME ZONE 'UTC' "
            'WHERE "environmentId" = %s AND ("friendlyId" = %s OR id = %s) AND status <> \'DEPLOYED\' RETURNING *',
            (f"@{digest}" if digest else "", environment["id"], wanted, wanted),
        )
        if row is None:
            raise refusal("Deployment not found", 404)
        await self.engine.release_waiting(environment["id"])
        return reply({"id": row["friendlyId"]})

    async def trigger(self, request: web.Request) -> web.Response:
        environment = await self.environment(request)
        body = await json_body(request)
        group = await default_group(self.state)
        if group is None:
            raise refusal("No worker group found", 422)
        machine = str((body.get("options") or {}).get("machine") or "small-1x")
        if machine not in MACHINES:
            raise refusal("Invalid machine preset", 400)
        payload, kind = json.dumps(body.get("payload", {})), "application/json"
        if len(payload) > self.state.settings.payload_limit:
            payload, kind = await self._offload(environment, payload), "application/store"
        run = await self.engine.trigger(environment, request.match_info["task"], payload, kind, group, machine)
        return reply({"id": run["friendlyId"]})

    def packet_name(self, environment: Row, name: str) -> str:
        return f"{environment['externalRef']}/{environment['slug']}/{name}"

    async def _offload(self, environment: Row, payload: str) -> str:
        if self.store is None:
            raise refusal("Object store credentials are not set", 500)
        name = f"payload-{random_text(16)}.json"
        try:
            async with self.store.session() as session:
                await upload(session, self.store, self.packet_name(environment, name), payload.encode())
        except (ClientError, TimeoutError) as failure:
            log("error", "Failed to upload packet to object store", error=str(failure))
            raise refusal("Failed to upload large payload to object store", 500) from None
        return name

    async def packet(self, request: web.Request) -> web.Response:
        environment = await self.environment(request)
        if self.store is None:
            raise refusal("Failed to generate presigned URL: Object store credentials are not set", 500)
        name = self.packet_name(environment, request.match_info["name"])
        return reply({"presignedUrl": self.store.presigned(request.method, name)})

    async def run(self, request: web.Request) -> web.Response:
        environment = await self.environment(request)
        row = await self.state.database.one(
            'SELECT * FROM "TaskRun" WHERE "friendlyId" = %s AND "runtimeEnvironmentId" = %s',
            (request.match_info["run"], environment["id"]),
        )
        if row is None:
            raise refusal("Run not found", 404)
        return reply(run_view(row))

    async def runs(self, request: web.Request) -> web.Response:
        """The list comes from ClickHouse: without replication it is empty though runs exist."""
        environment = await self.environment(request)
        statement = (
            "SELECT friendly_id, status, task_identifier, toString(created_at) AS created "
            "FROM trigger_dev.task_runs_v2 FINAL "
            f"WHERE environment_id = '{environment['id']}' ORDER BY created_at DESC LIMIT 25 FORMAT JSONEachRow"
        )
        try:
            text = await asyncio.to_thread(query, self.state.settings.clickhouse_url, statement)
        except ClickHouseError as failure:
            log("error", "Failed to list runs", error=str(failure))
            raise refusal("Something went wrong", 500) from None
        found = [json.loads(line) for line in text.splitlines()]
        return reply({
            "data": [{"id": row["friendly_id"], "status": API_STATUS.get(row["status"], row["status"]),
                      "taskIdentifier": row["task_identifier"], "createdAt": row["created"]} for row in found],
            "pagination": {},
        })  # fmt: skip

    # --- workers ---------------------------------------------------------------------------------------------------

    def as_worker(
        self, handler: Callable[[web.Request, Worker], Awaitable[Any]]
    ) -> Callable[[web.Request], Awaitable[web.Response]]:
        """One answer for every refusal; only the log tells the reasons apart."""

        async def guarded(request: web.Request) -> web.Response:
            worker = await self.workers.authenticate(request.headers)
            if worker is None:
                return reply(REFUSED, status=401)
            try:
                return reply(await handler(request, worker))
            except RunError as failure:
                return reply({"error": str(failure)}, status=failure.status)

        return guarded

    async def connect(self, request: web.Request, worker: Worker) -> Row:
        metadata = (await json_body(request)).get("metadata")
        if not isinstance(metadata, dict):
            raise refusal("Invalid request body", 400)
        await self.state.database.all(
            'UPDATE "WorkerInstance" SET metadata = %s::jsonb, "updatedAt" = clock_timestamp() AT TIME ZONE \'UTC\' '
            "WHERE id = %s",
            (compact(metadata), worker.instance["id"]),
        )
        return {"ok": True, "workerGroup": {"type": worker.group["type"], "name": worker.group["name"]}}

    async def dequeue(self, request: web.Request, worker: Worker) -> list[Row]:
        await json_body(request)
        return await self.engine.dequeue(worker)

    async def worker_heartbeat(self, request: web.Request, worker: Worker) -> Row:
        body = await json_body(request)
        if not {"cpu", "memory", "tasks"} <= set(body):
            raise refusal("Invalid request body", 400)
        await self.state.database.all(
            'UPDATE "WorkerInstance" SET "lastHeartbeatAt" = clock_timestamp() AT TIME ZONE \'UTC\', '
            "\"updatedAt\" = clock_timestamp() AT TIME ZONE 'UTC' WHERE id = %s",
            (worker.instance["id"],),
        )
        return {"ok": True}

    async def start(self, request: web.Request, worker: Worker) -> Row:
        names = request.match_info
        runner = request.headers.get("x-trigger-worker-runner-id")
        return await self.engine.start(names["run"], names["snapshot"], runner)

    async def complete(self, request: web.Request, worker: Worker) -> Row:
        completion = (await json_body(request)).get("completion")
        if not isinstance(completion, dict):
            raise refusal("Invalid request body", 400)
        return await self.engine.complete(request.match_info["run"], request.match_info["snapshot"], completion)

    async def run_heartbeat(self, request: web.Request, worker: Worker) -> Row:
        await self.engine.heartbeat(request.match_info["snapshot"])
        return {"ok": True}

    async def latest(self, request: web.Request, worker: Worker) -> Row:
        return {"execution": {"snapshot": await self.engine.latest_snapshot(request.match_info["run"])}}
