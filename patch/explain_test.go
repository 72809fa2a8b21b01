package patch

import (
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"evolution-openai-patch/patch/postgres"
)

// Each error of the server's has the remedy that fits, and is waited for only where waiting helps.
func TestServerErrors(t *testing.T) {
	for _, c := range []struct {
		code, message string
		retryable     bool
		says          string
	}{
		{"28P01", `password authentication failed for user "u"`, false, `: user or password is wrong, or the role has expired; give this container the very connection string that Evolution gets. POSTGRES_PASSWORD counts only when PostgreSQL's volume is first made`},
		{"28000", `role "u" is not permitted to log in`, false, `: give it the right with ALTER ROLE … LOGIN, or connect as another role`},
		{"28000", `role "u" does not exist`, false, `: create the role, or connect as another`},
		{"28000", `no pg_hba.conf entry for host "h"`, false, `: pg_hba.conf does not allow this role from this address or with this method`},
		{"28000", `no pg_hba.conf entry for host "h", user "u", database "d", no encryption`, false, `: the server may let this role in with TLS only: take sslmode=disable out of the connection string; else see its pg_hba.conf`},
		{"28000", `no pg_hba.conf entry for host "h", user "u", database "d", SSL off`, false, `: the server may let this role in with TLS only: take sslmode=disable out of the connection string; else see its pg_hba.conf`},
		{"28000", `no pg_hba.conf entry for host "h", user "u", database "d", SSL encryption`, false, `: pg_hba.conf does not allow this role from this address or with this method`},
		{"42501", `permission denied for database "d"`, false, `: grant the role CONNECT on the database, or connect as another`},
		{"42501", `permission denied for schema s`, false, `: grant the role USAGE and CREATE on the schema, or connect as a superuser`},
		{"42501", `must be owner of table "OpenaiCreds"`, false, `: connect as the role that owns the table, or as a superuser`},
		{"40001", `canceling statement due to conflict with recovery`, true, `: the standby cancelled the read because of replication; connect to the primary, or raise max_standby_streaming_delay`},
		{"25006", `cannot execute DROP INDEX in a read-only transaction`, false, `: the database takes no changes; connect to the primary`},
		{"53300", `too many connections for role "u"`, true, `: raise the role's CONNECTION LIMIT, or let Evolution's connection_limit leave one free`},
		{"53300", `too many connections for database "d"`, true, `: raise the database's CONNECTION LIMIT, or let Evolution's connection_limit leave one free`},
		{"53300", `sorry, too many clients already`, true, `: raise max_connections, or let Evolution's connection_limit leave one free`},
		{"53200", `out of memory`, true, ""},
		{"57P01", `terminating connection due to administrator command`, true, ""},
		{"57P02", `terminating connection because of crash of another server process`, true, ""},
		{"57P03", `the database system is starting up`, true, ""},
		{"57P05", `terminating connection due to idle-session timeout`, true, ""},
		{"57014", `canceling statement due to user request`, false, ""},
		{"2BP01", `cannot drop function f() because extension x requires it`, false, `: take it out of the extension with ALTER EXTENSION … DROP FUNCTION …, and try again`},
		{"2BP01", `cannot drop function f() because other objects depend on it`, false, `: drop what depends on it, and try again`},
		{"57014", `canceling statement due to statement timeout`, false, `: the change takes longer than this program allows; set PATCH_CONNECT_TIMEOUT to a longer time`},
		{"55P03", `canceling statement due to lock timeout`, true, ""},
		{"40P01", `deadlock detected`, true, ""},
		{"XX000", `cache lookup failed for index 4711`, true, ""},
		{"XX000", `could not open relation with OID 4711`, true, ""},
		{"XX000", `could not find tuple`, false, ""},
		{"08006", `connection failure`, true, ""},
		{"08P01", `server login has been failing`, true, ""},
		{"08P01", `pooler is shut down`, true, ""},
		{"08P01", `server conn crashed?`, true, ""},
		{"08P01", `no more connections allowed (max_client_conn)`, true, `: raise max_client_conn, or let Evolution's connection_limit leave one free`},
		{"08P01", `unsupported startup parameter: x`, false, ""},
		{"42P01", `relation "x" does not exist`, false, ""},
	} {
		err := &pgconn.PgError{Code: c.code, Message: c.message, Detail: "Key (apiKey)=(secret) exists."}
		if got := postgres.Retryable(err); got != c.retryable {
			t.Errorf("%s: retryable %t, want %t", c.message, got, c.retryable)
		}
		if got, want := explain(err), c.message+" (SQLSTATE "+c.code+")"+c.says; got != want {
			t.Errorf("%q\nwant %q", got, want)
		}
	}
}
