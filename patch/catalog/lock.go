package catalog

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"

	"evolution-openai-patch/patch/plan"
	"evolution-openai-patch/patch/postgres"
	"evolution-openai-patch/patch/quote"
)

// Lock adds what keeps others from interfering: Evolution and other runs of this program or, where there is no table yet,
// only the latter. A superuser also holds the row of the schema's name; without that, the owner of the schema could give the
// name to another schema between two statements. The table is locked before the row, so that nobody waits for the row, and
// once more after it, because until then the name may have been that of another schema. In between, a lock on something new
// makes the session read what others have committed: otherwise it would look the name up in its cache.
func Lock(b *postgres.Batch, s plan.State) {
	if s.Table == nil {
		LockGuard(b, s)
		return
	}
	table := "LOCK TABLE ONLY " + s.QualifiedTable() + " IN ACCESS EXCLUSIVE MODE"
	b.Exec(table)
	if s.Superuser { // others may not lock rows of the catalog
		b.Require("EXISTS (SELECT FROM pg_catalog.pg_namespace WHERE nspname = " + quote.Literal(s.Schema) + " FOR KEY SHARE)")
		b.Exec("LOCK TABLE ONLY pg_catalog.pg_am IN ACCESS SHARE MODE")
		b.Exec(table)
	}
}

// LockGuard adds a change to the row of the guard's schema that changes nothing, and that whoever else installs or removes the
// guard has to wait for. Nobody without rights on the schema can hold that up. Where there is no schema yet, only one can create
// it.
func LockGuard(b *postgres.Batch, s plan.State) {
	if s.Guard != nil && s.Guard.Mine {
		b.Exec(fmt.Sprintf("REVOKE ALL ON SCHEMA %s FROM PUBLIC", quote.Identifier(plan.GuardName(s.Schema))))
	}
}

// NoOtherTransaction is the condition that no other session of the database is in a transaction, each of which holds a lock on a
// virtual transaction ID of its own. What the role may not see of other sessions is NULL. A session that is idle executes
// nothing, but has a transaction for a moment whenever PostgreSQL makes it read the invalidation messages of other databases,
// too.
const NoOtherTransaction = `NOT EXISTS (
	SELECT FROM pg_catalog.pg_locks l
		JOIN pg_catalog.pg_stat_activity a ON a.pid = l.pid
		JOIN pg_catalog.pg_database d ON d.oid = a.datid
	WHERE l.locktype = 'virtualxid' AND l.granted AND l.virtualtransaction = l.virtualxid
		AND d.datname = pg_catalog.current_database() AND a.pid <> pg_catalog.pg_backend_pid()
		AND a.backend_type IS DISTINCT FROM 'autovacuum worker' AND a.state IS DISTINCT FROM 'idle')`

// Holders describes the sessions, five at most, that hold a lock l for which a condition is true. It returns nil if they cannot
// be found.
func (c Scope) Holders(ctx context.Context, conn *postgres.Conn, condition string) (names []string) {
	if !conn.Usable() {
		return nil
	}
	b := conn.Begin("READ ONLY", c.Limits)
	sessions := b.Read(`SELECT pg_catalog.json_agg(DISTINCT pg_catalog.json_build_object('pid', a.pid, 'application', a.application_name, 'user', a.usename, 'since', a.xact_start::pg_catalog.text)::pg_catalog.jsonb)::pg_catalog.text
		FROM pg_catalog.pg_locks l JOIN pg_catalog.pg_stat_activity a ON a.pid = l.pid
		WHERE l.granted AND l.pid <> pg_catalog.pg_backend_pid() AND ` + condition)
	b.Exec("COMMIT")
	var holders []struct {
		PID                      int
		Application, User, Since string
	}
	if err := conn.Send(ctx, b, c.Limits.Idle); err != nil || json.Unmarshal(sessions.Bytes(), &holders) != nil {
		return nil
	}
	for _, h := range holders[:min(len(holders), 5)] {
		names = append(names, fmt.Sprintf("pid %d (application_name %q, user %q, transaction since %s)", h.PID, h.Application, h.User, cmp.Or(h.Since, "a time hidden from this role")))
	}
	return names
}

// OnTable is the condition for a lock on the table of a State.
func OnTable(s plan.State) string {
	return fmt.Sprintf("l.relation = %s::pg_catalog.oid", quote.Literal(s.Table.OID))
}

// OnAnything is the condition for a lock of whoever has changed something in the database.
const OnAnything = "l.locktype = 'transactionid' AND a.datname = pg_catalog.current_database()"
