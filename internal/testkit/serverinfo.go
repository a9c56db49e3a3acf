package testkit

import (
	"fmt"
	"maps"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"evenkeel/pkg/engine/reply"
)

// server is SERVER [EXT].
func (s *Server) server(_ *client, args []string, out *reply.Reply) error {
	st := s.eng.State()
	total := st.Totals()
	hooks, channels := st.CountHooks()
	m := map[string]string{
		"id": s.opt.ID, "version": "1.37.0", "aof_size": strconv.FormatInt(s.counter, 10), "pid": strconv.Itoa(os.Getpid()),
		"num_collections": strconv.Itoa(st.Len()), "num_objects": strconv.Itoa(total.Items), "num_points": strconv.Itoa(total.Points),
		"num_strings": strconv.Itoa(total.Texts), "num_hooks": strconv.Itoa(hooks + channels), "in_memory_size": strconv.Itoa(total.Weight),
		"read_only": strconv.FormatBool(s.readOnly), "heap_size": "5000000", "mem_alloc": "5000000",
	}
	if s.follow.addr != "" {
		m["following"] = s.follow.addr
		m["caught_up"], m["caught_up_once"] = strconv.FormatBool(s.follow.level), strconv.FormatBool(s.follow.once)
	}
	if len(args) > 1 && strings.EqualFold(args[1], "ext") {
		m = s.extended(m)
	}
	names := slices.Sorted(maps.Keys(m))
	if out.JSON {
		out.OK()
		out.Member("stats")
		for i, name := range names {
			out.Buf = fmt.Appendf(out.Buf, "%c%q:%q", "{,"[min(i, 1)], name, m[name])
		}
		out.Buf = append(out.Buf, '}')
		return nil
	}
	out.Array(2 * len(names))
	for _, name := range names {
		out.Bulk(name)
		out.Bulk(m[name])
	}
	return nil
}

// extended makes the members of SERVER EXT.
func (s *Server) extended(basic map[string]string) map[string]string {
	m := map[string]string{}
	for _, name := range []string{"aof_size", "id", "num_collections", "num_hooks", "num_objects", "num_points", "num_strings", "pid", "read_only", "version"} {
		m["tile38_"+name] = basic[name]
	}
	m["tile38_aof_enabled"] = "true"
	m["tile38_aof_rewrite_in_progress"] = strconv.FormatBool(s.shrink.runs)
	m["tile38_aof_last_rewrite_time_sec"], m["tile38_aof_current_rewrite_time_sec"] = "0", "0"
	m["tile38_connected_slaves"] = strconv.Itoa(s.streams())
	m["tile38_uptime_in_seconds"] = fmt.Sprint(time.Since(s.started).Seconds())
	m["sys_bytes"], m["heap_released_bytes"], m["heap_alloc_bytes"] = "20000000", "1000000", "5000000"
	m["tile38_type"] = "leader"
	if s.follow.addr != "" {
		m["tile38_type"] = "follower"
	}
	return m
}

// streams counts the connections that read the file. mu is held.
func (s *Server) streams() (n int) {
	for c := range s.clients {
		if c.stream {
			n++
		}
	}
	return n
}

// replica is a follower as ROLE and INFO show it.
type replica struct{ ip, port, pos string }

// replicas lists the connections that have sent REPLCONF, ordered. mu is held.
func (s *Server) replicas() (rs []replica) {
	for c := range s.clients {
		if c.announce.port == "" {
			continue
		}
		ip := c.announce.ip
		if ip == "" {
			ip, _, _ = net.SplitHostPort(c.conn.RemoteAddr().String())
		}
		rs = append(rs, replica{ip, c.announce.port, strconv.FormatInt(c.pos, 10)})
	}
	slices.SortFunc(rs, func(a, b replica) int { return strings.Compare(a.ip+" "+a.port, b.ip+" "+b.port) })
	return rs
}

// role is ROLE, in RESP alone.
func (s *Server) role(_ *client, _ []string, out *reply.Reply) error {
	if s.follow.addr != "" {
		host, port, _ := net.SplitHostPort(s.follow.addr)
		n, _ := strconv.Atoi(port)
		out.Array(5)
		out.Bulk("slave")
		out.Bulk(host)
		out.Int(n)
		out.Bulk("connected")
		out.Int(int(s.counter))
		return nil
	}
	rs := s.replicas()
	out.Array(3)
	out.Bulk("master")
	out.Int(int(s.counter))
	out.Array(len(rs))
	for _, r := range rs {
		out.Array(3)
		out.Bulk(r.ip)
		out.Bulk(r.port)
		out.Bulk(r.pos)
	}
	return nil
}

// info is INFO, its sections server, persistence and replication.
func (s *Server) info(_ *client, args []string, out *reply.Reply) error {
	var text strings.Builder
	asked := func(name string) bool {
		return len(args) == 1 || slices.ContainsFunc(args[1:], func(a string) bool { return strings.EqualFold(a, name) })
	}
	if asked("server") {
		fmt.Fprintf(&text, "# Server\r\ntile38_version:1.37.0\r\nredis_version:1.37.0\r\nuptime_in_seconds:%d\r\n\r\n", int(time.Since(s.started).Seconds()))
	}
	if asked("persistence") {
		busy := 0
		if s.shrink.runs {
			busy = 1
		}
		fmt.Fprintf(&text, "# Persistence\r\naof_enabled:1\r\naof_rewrite_in_progress:%d\r\naof_last_rewrite_time_sec:0\r\naof_current_rewrite_time_sec:0\r\n\r\n", busy)
	}
	if asked("replication") {
		text.WriteString("# Replication\r\n")
		if s.follow.addr != "" {
			host, port, _ := net.SplitHostPort(s.follow.addr)
			fmt.Fprintf(&text, "role:slave\r\nmaster_host:%s\r\nmaster_port:%s\r\nslave_repl_offset:%d\r\n", host, port, s.counter)
		} else {
			text.WriteString("role:master\r\n")
		}
		for i, r := range s.replicas() {
			fmt.Fprintf(&text, "slave%d:ip=%s,port=%s,state=online\r\n", i, r.ip, r.port)
		}
		fmt.Fprintf(&text, "connected_slaves:%d\r\n\r\n", s.streams())
	}
	out.Bulk(text.String())
	return nil
}

// clientList is CLIENT LIST: connections that do not read the file.
func (s *Server) clientList(_ *client, args []string, out *reply.Reply) error {
	if len(args) != 2 || !strings.EqualFold(args[1], "list") {
		return reply.Plain("unknown subcommand")
	}
	var text strings.Builder
	n := 0
	for c := range s.clients {
		if n++; !c.stream {
			fmt.Fprintf(&text, "id=%d addr=%s name= age=0 idle=0\n", n, c.conn.RemoteAddr())
		}
	}
	out.Bulk(text.String())
	return nil
}
