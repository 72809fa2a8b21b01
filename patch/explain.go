package patch

import (
	"errors"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"evolution-openai-patch/patch/postgres"
)

// explain returns an error in one line for people, with what to do about it.
func explain(err error) string { return postgres.Shorten(explainInFull(err), maxText) }

func explainInFull(err error) string {
	var (
		pgErr    *pgconn.PgError
		wait     *WaitError
		unknown  *UnknownError
		password *passwordError
	)
	switch {
	case errors.As(err, &unknown):
		return unknown.Error()
	case errors.As(err, &wait):
		return wait.Error()
	case errors.As(err, &password):
		return password.Error()
	case errors.As(err, &pgErr):
		return postgres.Explain(err) + remedy(pgErr)
	}
	return postgres.Explain(err)
}

// remedy returns what to do about an error of the server's, "" if that is not known.
func remedy(err *pgconn.PgError) string {
	for _, r := range remedies {
		if r.code == err.Code && strings.Contains(err.Message, r.message) {
			return ": " + r.text
		}
	}
	if text := postgres.PoolerRemedy(err); text != "" {
		return ": " + text
	}
	return ""
}

const (
	wrongPassword = "user or password is wrong, or the role has expired; give this container the very connection string that Evolution gets. POSTGRES_PASSWORD counts only when PostgreSQL's volume is first made"
	wantsTLS      = "the server may let this role in with TLS only: take sslmode=disable out of the connection string; else see its pg_hba.conf"
)

// remedies are found by SQLSTATE and by a part of the message, which is present in English only. The first match counts.
var remedies = []struct{ code, message, text string }{
	{postgres.InternalError, "password authentication", wrongPassword}, // from Neon's proxy
	{postgres.InvalidPassword, "", wrongPassword},
	{postgres.InvalidAuthorizationSpecification, "not permitted to log in", "give it the right with ALTER ROLE … LOGIN, or connect as another role"},
	{postgres.InvalidAuthorizationSpecification, "does not exist", "create the role, or connect as another"},
	{postgres.InvalidAuthorizationSpecification, "no encryption", wantsTLS},
	{postgres.InvalidAuthorizationSpecification, "SSL off", wantsTLS}, // before PostgreSQL 14
	{postgres.InvalidAuthorizationSpecification, "", "pg_hba.conf does not allow this role from this address or with this method"},
	{postgres.InsufficientPrivilege, " pg_", "what every role may read of PostgreSQL's catalog was taken from this one: GRANT it to PUBLIC again, or connect as a superuser"},
	{postgres.InsufficientPrivilege, "for database", "grant the role CONNECT on the database, or connect as another"},
	{postgres.InsufficientPrivilege, "for schema", "grant the role USAGE and CREATE on the schema, or connect as a superuser"},
	{postgres.InsufficientPrivilege, "", "connect as the role that owns the table, or as a superuser"},
	{postgres.DependentObjectsStillExist, "because extension", "take it out of the extension with ALTER EXTENSION … DROP FUNCTION …, and try again"},
	{postgres.DependentObjectsStillExist, "", "drop what depends on it, and try again"},
	{postgres.QueryCanceled, "statement timeout", "the change takes longer than this program allows; set PATCH_CONNECT_TIMEOUT to a longer time"},
	{postgres.ReadOnlySQLTransaction, "", "the database takes no changes; connect to the primary"},
	{postgres.SerializationFailure, "", "the standby cancelled the read because of replication; connect to the primary, or raise max_standby_streaming_delay"},
	{postgres.TooManyConnections, "for role", "raise the role's CONNECTION LIMIT, or let Evolution's connection_limit leave one free"},
	{postgres.TooManyConnections, "for database", "raise the database's CONNECTION LIMIT, or let Evolution's connection_limit leave one free"},
	{postgres.TooManyConnections, "", "raise max_connections, or let Evolution's connection_limit leave one free"},
}
