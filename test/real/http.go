package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
)

// evolution sends requests to Evolution API.
type evolution struct{ url, key string }

// version waits until Evolution answers, and returns its version.
func (e evolution) version(ctx context.Context, wait time.Duration) (version string, err error) {
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	for {
		var root struct{ Version string }
		if err = e.do(ctx, http.MethodGet, "/", nil, http.StatusOK, &root); err == nil {
			return root.Version, nil
		}
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
			return "", fmt.Errorf("wait for Evolution: %w", err)
		}
	}
}

// do sends a request with a body as JSON, requires a status, and decodes the answer.
func (e evolution) do(ctx context.Context, method, path string, body any, status int, into any) error {
	content, err := json.Marshal(body)
	if err != nil {
		return err
	}
	r, err := http.NewRequestWithContext(ctx, method, e.url+path, bytes.NewReader(content))
	if err != nil {
		return err
	}
	r.Header.Set("apikey", e.key)
	r.Header.Set("Content-Type", "application/json")
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(response.Body, 1<<20))
	if err != nil {
		return err
	}
	if response.StatusCode != status {
		return fmt.Errorf("HTTP %d, want %d: %.300s", response.StatusCode, status, answer)
	}
	if into == nil {
		return nil
	}
	return json.Unmarshal(answer, into)
}

const standInModel = "stand-in"

// openAI takes OpenAI's place. It reads requests itself, because Go's server strips what is to be seen.
type openAI struct {
	authorization chan string // what came after "Authorization: ", byte for byte
}

func (o openAI) serve(listener net.Listener) {
	for {
		c, err := listener.Accept()
		if err != nil {
			return
		}
		go o.answer(c)
	}
}

// answer reads one request and answers with a list of one model.
func (o openAI) answer(c net.Conn) {
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	for lines := bufio.NewScanner(c); lines.Scan() && strings.TrimRight(lines.Text(), "\r") != ""; {
		name, value, _ := strings.Cut(strings.TrimSuffix(lines.Text(), "\r"), ":")
		if strings.EqualFold(name, "Authorization") {
			o.authorization <- strings.TrimPrefix(value, " ")
		}
	}
	body := `{"object":"list","data":[{"id":"` + standInModel + `","object":"model"}]}`
	fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s", len(body), body)
}
