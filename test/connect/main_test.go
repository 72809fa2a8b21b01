// Package connect tests how the program connects, waits, watches, and survives a network or a server that fails.
package connect

import (
	"os"
	"testing"

	"evolution-openai-patch/test/pgtest"
)

// noGuard is for tests that only connect, to a database that is nobody's.
const noGuard = "PATCH_ON_MISSING_TABLE=continue"

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }
