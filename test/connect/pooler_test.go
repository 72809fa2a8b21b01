package connect

import (
	"fmt"
	"io"
	"net"
	"sync/atomic"
	"testing"

	"evolution-openai-patch/test/pgtest"
)

// refusal is how poolers and proxies refuse a login: as Supavisor with FATAL, or as Neon's proxy with ERROR.
func refusal(severity, code, message string) func(net.Conn) {
	return pgtest.AnswerError(fmt.Sprintf("S%s\x00V%[1]s\x00C%s\x00M%s\x00\x00", severity, code, message))
}

// A pooler that has no room, or whose server is only starting, is waited for. What it says is told from the beginning.
func TestPoolerWithoutRoom(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ severity, code, message string }{
		{"FATAL", "XX000", "(EMAXCONNSESSION) max clients reached in session mode - max clients are limited to pool_size: 15"},
		{"FATAL", "XX000", "MaxClientsInSessionMode: max clients reached - in Session mode max clients are limited to pool_size"},
		{"FATAL", "XX000", "Max client connections reached"},
		{"FATAL", "XX000", "Unable to check out process from the pool due to timeout"},
		{"FATAL", "XX000", "(ECIRCUITBREAKER) too many authentication failures, new connections are temporarily blocked"},
		{"FATAL", "XX000", "DbHandler exited"},
		{"ERROR", "XX000", "Control plane request failed"},
		{"ERROR", "XX000", "Control plane request failed: endpoint is temporarily unavailable. Check your quotas and/or contact our support."},
		{"ERROR", "XX000", "Couldn't connect to compute node"},
		{"ERROR", "XX000", "compute node is not ready"},
		{"ERROR", "XX000", "Too many connections to this endpoint. Please try again later."},
		{"FATAL", "08P01", "no more connections allowed (max_client_conn)"},
		{"FATAL", "08P01", "server login has been failing, try again later (server_login_retry)"},
		{"FATAL", "08P01", "query_wait_timeout"},
		{"FATAL", "53300", "sorry, too many clients already"},
	} {
		t.Run(c.message, func(t *testing.T) {
			t.Parallel()
			address := pgtest.Listen(t, refusal(c.severity, c.code, c.message))
			o := pgtest.Run(t, "DATABASE_CONNECTION_URI="+pgtest.URI("u", address, "d", ""), pgtest.Shortly)
			o.Expect(t, 4, pgtest.GaveUp+pgtest.ShortWait, pgtest.WaitsForServer, c.message, "failed: ")
		})
	}
}

// Once there is room, the work is done.
func TestPoolerHasRoomAgain(t *testing.T) {
	t.Parallel()
	d := pgtest.NewEvolution(t, "evolution_api")
	var attempts atomic.Int32
	address := pgtest.Listen(t, func(c net.Conn) {
		if attempts.Add(1) <= 3 {
			refusal("FATAL", "XX000", "Max client connections reached")(c)
			return
		}
		server, err := net.Dial("tcp", pgtest.Shared.Address())
		if err != nil {
			t.Error(err)
			return
		}
		go func() { _, _ = io.Copy(server, c); _ = server.Close() }()
		_, _ = io.Copy(c, server)
		_ = c.Close()
	})
	d.Patch("DATABASE_CONNECTION_URI="+d.URIThrough(address)).Expect(t, 0, "patched: ", "changed=true")
}

// A name that a pooler does not know ends the wait at once, and what it should be is told.
func TestPoolerDoesNotKnowTheName(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ severity, message, remedy string }{
		{"FATAL", "Tenant or user not found", pgtest.NameOfTenant},
		{"FATAL", "(ENOTFOUND) tenant/user postgres.abcdefghijklmnop not found", pgtest.NameOfTenant},
		{"FATAL", "(ETENANTNOTFOUND) tenant or user not found", pgtest.NameOfTenant},
		{"FATAL", "(ENOIDENTIFIER) no tenant identifier provided (external_id or sni_hostname required)", pgtest.NameOfTenant},
		{"FATAL", "(EAUTHQUERY) user not found in the database", ""},
		{"FATAL", "(ESSLREQUIRED) SSL connection is required for user: postgres", "sslmode=require"},
		{"FATAL", "Address not in tenant allow_list: {10, 0, 0, 1}", "address of this container"},
		{"ERROR", "The requested endpoint could not be found, or you don't have access to it.", pgtest.NameOfEndpoint},
		{"ERROR", "Control plane request failed: endpoint cannot be found", pgtest.NameOfEndpoint},
		{"ERROR", "project not found", pgtest.NameOfEndpoint},
		{"ERROR", "Endpoint ID is not specified. Either please upgrade the postgres client library (libpq) for SNI support or pass the endpoint ID", pgtest.NameOfEndpoint},
		{"ERROR", "password authentication failed for user 'u'", pgtest.WrongPassword},
		{"ERROR", `role "u" ` + pgtest.NotThere, ""},
	} {
		t.Run(c.message, func(t *testing.T) {
			t.Parallel()
			address := pgtest.Listen(t, refusal(c.severity, "XX000", c.message))
			o := pgtest.Run(t, "DATABASE_CONNECTION_URI="+pgtest.URI("u", address, "d", ""), "PATCH_WAIT_TIMEOUT=10h", "PATCH_LOG_FORMAT=json")
			o.Expect(t, 1, `"state":"failed"`, c.remedy)
		})
	}
	address := pgtest.Listen(t, refusal("ERROR", "XX000", `database "d" `+pgtest.NotThere))
	pgtest.Run(t, "DATABASE_CONNECTION_URI="+pgtest.URI("u", address, "d", "")).Expect(t, 0, "pending: ")
}
