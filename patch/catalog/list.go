package catalog

import (
	"context"
	"fmt"

	"evolution-openai-patch/patch/plan"
	"evolution-openai-patch/patch/postgres"
)

// Databases lists the databases of the server that allow connections and that the role may connect to, without the
// templates. The limit of a database whose DROP failed half-way is -2.
const Databases = `SELECT d.datname::pg_catalog.text FROM pg_catalog.pg_database d
	WHERE d.datallowconn AND d.datconnlimit <> -2 AND NOT d.datistemplate AND pg_catalog.has_database_privilege(d.oid, 'CONNECT')`

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
		conn.RollBack()
		return nil, fmt.Errorf("list: %w", err)
	}
	return names, nil
}

// OtherSchemas lists at most 20 schemas that hold the table, for a message.
const OtherSchemas = "SELECT c.relnamespace::pg_catalog.regnamespace::pg_catalog.text FROM pg_catalog.pg_class c WHERE c.relname = '" + plan.TableName + "' AND c.relkind = 'r' ORDER BY 1 LIMIT 20"
