package catalog

import (
	"context"
	"encoding/json"
	"fmt"

	"evolution-openai-patch/patch/plan"
	"evolution-openai-patch/patch/postgres"
	"evolution-openai-patch/patch/quote"
)

// Database is one of a server.
type Database struct {
	Name     string `json:"name"`
	Open     bool   `json:"open"`      // the role has CONNECT
	LockedBy *int   `json:"locked_by"` // the process that keeps others from connecting, 0 for a prepared transaction; nil for none
}

// databases lists the databases of the server that allow connections, without the templates, in the order of the bytes of their names.
// The limit of a database whose DROP failed half-way is -2. A session that begins waits for a lock of any of these modes.
const databases = `SELECT pg_catalog.json_build_object('name', d.datname, 'open', pg_catalog.has_database_privilege(d.oid, 'CONNECT'), 'locked_by', l.pid)::pg_catalog.text
	FROM pg_catalog.pg_database d LEFT JOIN (
		SELECT k.objid, coalesce(pg_catalog.min(k.pid), 0) AS pid FROM pg_catalog.pg_locks k
		WHERE k.locktype = 'object' AND k.classid = 'pg_catalog.pg_database'::pg_catalog.regclass
			AND k.mode IN ('ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock')
		GROUP BY k.objid) AS l ON l.objid = d.oid
	WHERE d.datallowconn AND d.datconnlimit <> -2 AND NOT d.datistemplate ORDER BY d.datname`

// Databases lists the databases of the server.
func (c Scope) Databases(ctx context.Context, conn *postgres.Conn) (all []Database, err error) {
	rows, err := c.Names(ctx, conn, databases)
	for _, row := range rows {
		var one Database
		if err := json.Unmarshal([]byte(row), &one); err != nil {
			return nil, fmt.Errorf("list: %w", err)
		}
		all = append(all, one)
	}
	return all, err
}

// Schemas lists the schemas of the database that hold a table of the name of Evolution's, from the oldest on, so that a tenant
// who makes many of them leaves those out that are younger.
const Schemas = `SELECT n.nspname::pg_catalog.text
	FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
	WHERE c.relname = '` + plan.TableName + `' AND c.relkind = 'r' AND c.relpersistence <> 't' ORDER BY n.oid LIMIT 1001`

// MaxSchemas is the most schemas of one database that are handled without being named.
const MaxSchemas = 1000

// Names returns the names that a query finds.
func (c Scope) Names(ctx context.Context, conn *postgres.Conn, sql string) (names []string, err error) {
	b := conn.Begin("ISOLATION LEVEL READ COMMITTED READ ONLY", c.Limits)
	b.Rows(sql, func(row []byte) error {
		names = append(names, string(row))
		return nil
	})
	b.Exec("COMMIT")
	if err = conn.Send(ctx, b, c.Limits.Idle); err != nil {
		conn.RollBack(ctx, c.Limits.Idle)
		return nil, fmt.Errorf("list: %w", err)
	}
	return names, nil
}

// GuardFunctions lists the functions of the role's or a superuser's in the schemas that have the name of a guard's: the beginning of the
// first line of each, from which plan.GuardedSchema reads the schema that the guard is for.
const GuardFunctions = `SELECT pg_catalog.left(pg_catalog.split_part(f.prosrc, E'\n', 1), 1000)
	FROM pg_catalog.pg_namespace n JOIN pg_catalog.pg_proc f ON f.pronamespace = n.oid JOIN pg_catalog.pg_roles r ON r.oid = f.proowner
	WHERE n.nspname ^@ '` + plan.ObjectName + `_' AND (r.rolsuper OR r.rolname = current_user) AND pg_catalog.octet_length(f.prosrc) < 16000 ORDER BY n.oid LIMIT 1001`

// SessionsOf lists at most five sessions in the database that have an application_name, for a message.
func SessionsOf(application string) string {
	return `SELECT pg_catalog.format('pid %s%s', a.pid, ' from ' || pg_catalog.host(a.client_addr)) FROM pg_catalog.pg_stat_activity a
		WHERE a.datname = pg_catalog.current_database() AND a.application_name = ` + quote.Literal(application) + ` ORDER BY a.pid LIMIT 5`
}
