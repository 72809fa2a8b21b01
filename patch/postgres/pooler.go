package postgres

import "github.com/jackc/pgx/v5/pgconn"

// What to do about an error of a pooler.
const (
	nameTheTenant   = "the user name of a Supabase pooler is the role's and the project's, as in postgres.abcdefghijklmnop, and its host is the one of the project's region: copy both from the project's connection string"
	nameTheEndpoint = "the host name of a Neon database begins with the ID of its endpoint, ep-…: copy it from the project's connection string, or add options=endpoint%3D and that ID to this one"
	makeRoom        = "raise the size of its pool, let Evolution's connection_limit leave one free, or use its transaction mode (at Supabase: port 6543)"
	useTLS          = "set sslmode=require in the connection string"
	allowAddress    = "add the address of this container's network to those that may connect, in the provider's console"
)

// PoolerRemedy returns what to do about an error of a pooler's, "" if that is not known, or it is not one.
func PoolerRemedy(err *pgconn.PgError) string {
	_, remedy := ofPooler(err)
	return remedy
}
