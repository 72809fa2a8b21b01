package postgres

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
)

func TestNewTarget(t *testing.T) {
	target, err := NewTarget(Config{Host: "h", Port: "6432", User: `o'brien\`, Password: `p'w\`, Database: "d 'e", Options: "-c x=1", ApplicationName: "tester"})
	if err != nil {
		t.Fatal(err)
	}
	c := target.conn
	if c.User != `o'brien\` || c.Password != `p'w\` || c.Database != "d 'e" || c.Port != 6432 {
		t.Errorf("user %q, password %q, database %q, port %d", c.User, c.Password, c.Database, c.Port)
	}
	if names := slices.Sorted(maps.Keys(c.RuntimeParams)); !slices.Equal(names, []string{"application_name", "client_encoding", "options"}) {
		t.Errorf("%q would reach the server", names)
	}
	if other := target.WithDatabase("other"); other.Database() != "other" || target.Database() != "d 'e" {
		t.Errorf("databases %q and %q", other.Database(), target.Database())
	}
}

func TestTargetString(t *testing.T) {
	for want, c := range map[string]Config{
		"h:5432/d":             {Host: "h", Port: "5432", User: "u", Database: "d"},
		"h:5432/u":             {Host: "h", Port: "5432", User: "u"},
		"[::1]:5432/d":         {Host: "::1", Port: "5432", User: "u", Database: "d"},
		"/run/postgres:5432/d": {Host: "/run/postgres", Port: "5432", User: "u", Database: "d"},
	} {
		target, err := NewTarget(c)
		if err != nil || target.String() != want {
			t.Errorf("%s, %v; want %s", target, err, want)
		}
	}
}

// Each mode asks for TLS and for a check of the certificate as libpq does; only prefer is negotiated here.
func TestTLSModes(t *testing.T) {
	for _, c := range []struct {
		config                  Config
		tls, negotiated, verify bool
	}{
		{Config{SSLMode: "disable"}, false, false, false},
		{Config{}, false, true, false},
		{Config{SSLMode: "require"}, true, false, false},
		{Config{SSLMode: "verify-ca"}, true, false, true},
		{Config{SSLMode: "verify-full"}, true, false, true},
		{Config{SSLMode: "require", VerifyServer: true}, true, false, true},
		{Config{SSLMode: "allow"}, false, true, false},
		{Config{SSLMode: "prefer"}, false, true, false},
		{Config{SSLMode: "no-verify"}, true, false, false},
		{Config{VerifyServer: true}, true, false, true},
		{Config{SSLMode: "allow", VerifyServer: true}, true, false, true},
		{Config{SSLMode: "prefer", VerifyServer: true}, true, false, true},
		{Config{SSLMode: "verify-ca", VerifyServer: true}, true, false, true},
		{Config{SystemRoots: true}, true, false, true},
		{Config{SystemRoots: true, SSLMode: "verify-full"}, true, false, true},
		{Config{SystemRoots: true, SSLMode: "require", VerifyServer: true}, true, false, true},
	} {
		c.config.Host, c.config.User = "h", "u"
		target, err := NewTarget(c.config)
		if err != nil {
			t.Fatal(err)
		}
		used := target.conn.TLSConfig
		if (used != nil) != c.tls || (target.preferTLS != nil) != c.negotiated {
			t.Errorf("%+v: TLS %t, negotiated %t", c.config, used != nil, target.preferTLS != nil)
		}
		if target.preferTLS != nil {
			used = target.preferTLS
		}
		if used == nil {
			continue
		}
		if verifies := !used.InsecureSkipVerify || used.VerifyPeerCertificate != nil; verifies != c.verify || (used.RootCAs != nil) != c.verify {
			t.Errorf("%+v: verifies %t, roots %t", c.config, verifies, used.RootCAs != nil)
		}
		if full := c.config.SystemRoots || strings.HasSuffix(c.config.effectiveSSLMode(), "full"); full != (used.ServerName == "h" && !used.InsecureSkipVerify) {
			t.Errorf("%+v: server name %q, skip verify %t", c.config, used.ServerName, used.InsecureSkipVerify)
		}
	}
}

// As with libpq, the system's CAs go with a check of the host's name only, because they have certified others, too.
func TestSystemRootsAndWeakModes(t *testing.T) {
	for _, mode := range []string{"disable", "allow", "prefer", "require", "no-verify", "verify-ca"} {
		_, err := NewTarget(Config{Host: "h", User: "u", SystemRoots: true, SSLMode: mode})
		var setting *SettingError
		if !errors.As(err, &setting) || setting.Keyword != "sslmode" {
			t.Errorf("%s: %v", mode, err)
		}
	}
}

// Where the first host of a list is a socket, the others are asked for TLS all the same.
func TestPreferredTLSOfHostsAndSockets(t *testing.T) {
	for _, hosts := range []string{"h,/tmp", "/tmp,h"} {
		target, err := NewTarget(Config{Host: hosts, Port: "5432,5432", User: "u"})
		if err != nil || target.preferTLS == nil || target.conn.Fallbacks[0].TLSConfig != nil {
			t.Errorf("%s: %v, TLS is asked for: %t", hosts, err, target.preferTLS != nil)
		}
	}
}

// In a list of hosts, some may be sockets, which have no TLS.
func TestRootsOfHostsAndSockets(t *testing.T) {
	for _, hosts := range []string{"h,/tmp", "/tmp,h"} {
		target, err := NewTarget(Config{Host: hosts, Port: "5432,5432", User: "u", SSLMode: "verify-full"})
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range []*pgconn.FallbackConfig{{Host: target.conn.Host, TLSConfig: target.conn.TLSConfig}, target.conn.Fallbacks[0]} {
			if socket := c.Host == "/tmp"; (c.TLSConfig == nil) != socket || !socket && c.TLSConfig.RootCAs == nil {
				t.Errorf("%s: the configuration of %s is %+v", hosts, c.Host, c.TLSConfig)
			}
		}
	}
}

// An image from scratch has no CAs; those that are compiled in are used there.
func TestCompiledInRoots(t *testing.T) {
	t.Setenv("SSL_CERT_FILE", "/nothing/here")
	t.Setenv("SSL_CERT_DIR", "/nothing/here")
	target, err := NewTarget(Config{Host: "h", User: "u", SSLMode: "verify-full"})
	if err != nil {
		t.Fatal(err)
	}
	if target.conn.TLSConfig.RootCAs == nil {
		t.Error("nothing is trusted")
	}
}

func TestUnusableConfigs(t *testing.T) {
	for says, c := range map[string]Config{
		"NUL":       {Host: "h", User: "u", Password: "a\x00Secret"},
		"not UTF-8": {Host: "h", User: "u", Database: "\xffSecret"},
		"client identity cannot be read: no such file":            {Host: "h", User: "u", SSLMode: "require", Identity: "/nothing/here", KeyPassword: "Secret"},
		"client identity cannot be used":                          {Host: "h", User: "u", SSLMode: "require", Identity: "config_test.go", KeyPassword: "Secret"},
		"CA certificate cannot be read: no such file":             {Host: "h", User: "u", SSLMode: "verify-ca", RootCertificates: "/nothing/here"},
		"CA certificate cannot be read: it is not a regular file": {Host: "h", User: "u", SSLMode: "verify-ca", RootCertificates: "/dev/zero"},
		"password cannot be read: it is not a regular file":       {Host: "h", User: "u", PasswordFile: "/dev/zero"},
	} {
		if _, err := NewTarget(c); err == nil || !strings.Contains(err.Error(), says) || strings.Contains(err.Error(), "Secret") {
			t.Errorf("%v, want %q", err, says)
		}
	}
}
