package patch

import (
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
)

// Each error of the server's has the remedy that fits, and is waited for only where waiting helps.
func TestServerErrors(t *testing.T) {
	for _, c := range []struct {
		code, message string
		trouble       trouble
		says          string
	}{
		{"28P01", `password authentication failed for user "u"`, lasting, `: user or password is wrong, or the role has expired; give this container the very connection string that Evolution gets`},
		{"28000", `role "u" is not permitted to log in`, lasting, `: give it the right with ALTER ROLE … LOGIN, or connect as another role`},
		{"28000", `no pg_hba.conf entry for host "h"`, lasting, `: the server lets this role in neither from here nor in this way; see its pg_hba.conf`},
		{"42501", `permission denied for database "d"`, lasting, `: grant the role CONNECT on the database, or connect as another`},
		{"42501", `permission denied for schema s`, lasting, `: grant the role USAGE and CREATE on the schema, or connect as a superuser`},
		{"42501", `must be owner of table "OpenaiCreds"`, lasting, `: connect as the role that owns the table, or as a superuser`},
		{"25006", `cannot execute DROP INDEX in a read-only transaction`, lasting, `: the database takes no changes; connect to the primary`},
		{"53300", `too many connections for role "u"`, dear, `: raise the role's CONNECTION LIMIT, or let Evolution's connection_limit leave one free`},
		{"53300", `too many connections for database "d"`, dear, `: raise the database's CONNECTION LIMIT, or let Evolution's connection_limit leave one free`},
		{"53300", `sorry, too many clients already`, dear, `: raise max_connections, or let Evolution's connection_limit leave one free`},
		{"53200", `out of memory`, dear, ""},
		{"57P01", `terminating connection due to administrator command`, cheap, ""},
		{"57P02", `terminating connection because of crash of another server process`, cheap, ""},
		{"57P03", `the database system is starting up`, cheap, ""},
		{"57P05", `terminating connection due to idle-session timeout`, cheap, ""},
		{"57014", `canceling statement due to user request`, lasting, ""},
		{"55P03", `canceling statement due to lock timeout`, dear, ""},
		{"40P01", `deadlock detected`, dear, ""},
		{"XX000", `cache lookup failed for index 4711`, cheap, ""},
		{"XX000", `could not find tuple`, lasting, ""},
		{"08006", `connection failure`, dear, ""},
		{"08P01", `server login has been failing`, dear, ""},
		{"08P01", `pooler is shut down`, dear, ""},
		{"08P01", `no more connections allowed (max_client_conn)`, dear, ""},
		{"08P01", `unsupported startup parameter: x`, lasting, ""},
		{"42P01", `relation "x" does not exist`, lasting, ""},
	} {
		err := &pgconn.PgError{Code: c.code, Message: c.message, Detail: "Key (apiKey)=(secret) exists."}
		if got := judge(err); got != c.trouble {
			t.Errorf("%s: trouble %d, want %d", c.message, got, c.trouble)
		}
		if got, want := explain(err), c.message+" (SQLSTATE "+c.code+")"+c.says; got != want {
			t.Errorf("%q\nwant %q", got, want)
		}
	}
}
