// Package aof is the append-only log: the only durable state of a leader or a
// follower. It keeps batches of commands in files that a person can read, cuts
// what a crash left unfinished, refuses what is damaged, replays, compacts
// without moving an offset, and feeds followers live.
//
// It touches the disk through internal/fsx only. It knows nothing of the engine:
// payloads are RESP commands whose meaning is somebody else's. It never asks a
// clock what to write: the time of a batch is passed in. Its one goroutine paces
// syncs and retries, follows rotations with the manifest and removes old files;
// Close joins it.
//
// # Files
//
//	MANIFEST              what the log consists of: JSON, replaced atomically
//	base-<offset>.aof     the state at <offset>
//	seg-<offset>.aof      the commands since; the last one is being written
//	appendonly.aof        a plain Tile38 file, adopted as the base it is
//	lost-<epoch>.aof      commands that the log gave up to follow another history
//	*.cut-<position>      what was cut off a file at that file position
//	*.tmp                 not finished; removed at the next Open
//	LOCK                  flocked while a process has the log open
//
// Offsets have 20 digits. Offsets are logical: bytes of command payload since
// the epoch began, so compaction does not move them; annotation lines do not
// count. A second file at the same offset (a base written anew, a file of a
// history that was replaced) gets "-2" behind its offset. MANIFEST decides which
// one belongs to the log.
//
//	offset   0         1000        2000        3000        4000
//	         |-- seg-0 --|- seg-1000 -|- seg-2000 -|- seg-3000 …   (written)
//	                                  ^
//	                               base-2000
//	         '---- backlog, for ------''---- replayed after the --->
//	               followers                 base
//
// # Batches
//
// A batch is RESP commands and one line that ends it:
//
//	*3\r\n$3\r\nDEL\r\n$1\r\nk\r\n$1\r\na\r\n
//	#118 118 1000 ed921b80ac5531ae0000000000000076 2d8ad582\r\n
//	 |   |   |    |                                |
//	 |   |   |    |                                CRC-32C of the payload and of
//	 |   |   |    |                                this line up to here
//	 |   |   |    digest of the state that the batch leads to
//	 |   |   time of the batch, Unix milliseconds
//	 |   bytes of payload: the batch began at 118-118 = 0
//	 logical offset of the batch's end
//
// Numbers are decimal without leading zeros, digests and checksums lower-case
// hexadecimal; a line that is written otherwise is not valid. The batches of a
// segment follow each other without a gap, from the offset in its name on.
//
// A base is written in batches too, of about 64 KiB. They all carry the base's
// offset and time. The digest is zero but in the last one, which has no payload
// and ends the file; so a base that was cut short at a batch is told from a
// whole one:
//
//	<65,600 bytes of commands> #2000 65600 1700000000000 000…000 <crc>
//	<65,571 bytes of commands> #2000 65571 1700000000000 000…000 <crc>
//	                           #2000 0 1700000000000 <digest> <crc>
//
// Without the lines that start with '#' where a command would start, a base and
// the segments behind it, one after the other, are a Tile38 append-only file;
// PayloadReader reads that. A value may hold any bytes, such lines too, so they
// are found by walking over the commands, never by searching.
//
// An adopted file has no lines at all. Its commands lead to the state at the
// offset that is their length; stretches of zero bytes between them, which
// Tile38 tolerates, do not count. MANIFEST holds its checksum and the time of
// its adoption, from which relative times to live count, and its digest once
// SetBaseDigest has told it.
//
// # Writing
//
// The caller lets one writer at a time do this, under its own lock:
//
//	t, err := log.Begin(now)  // commands are executed as of t
//	log.Add(args)             // … for each
//	off := log.End(digest)
//
// and outside it, before it tells anybody of success:
//
//	err = log.Commit(ctx, off)
//
// Begin, Add and End work in memory. Writers that come within 5 ms share a
// batch. Commit is a group commit: whoever gets the turn first writes for all,
// one write (and with FsyncAlways one sync) for many.
//
// # Looking at a directory
//
// Inspect and Directory.Scan read a directory that no Log has open and change
// nothing; they note damage and go on behind it, where Open refuses. Directory.Plan
// says what would make the log whole, and Repair.Carry does it:
//
//	damaged             what becomes of the log
//	the last segment    cut at its first damage
//	another since the   cut there; those behind it, which build on what is gone,
//	base                are set aside
//	one before the      it and those before it are set aside: the backlog is
//	base                shorter, nothing is lost
//	the base            replayed from offset 0 without it, where the segments
//	                    reach back so far and lead to its digest; otherwise no
//	MANIFEST            made again from the files that follow each other, when
//	                    they replay to their digests; a new epoch begins
//
// # Invariants
//
//   - What Commit has acknowledged under FsyncAlways survives a loss of power;
//     under the other policies it survives the death of the process.
//   - After any crash the log opens by itself to a beginning of what was appended,
//     ending after a whole batch; what was cut is kept, and Recovery tells.
//   - Whatever else differs from what was written is a *DamageError, and nothing
//     is changed.
//   - MANIFEST never relies on what is not durable: a segment is listed as
//     complete when it is synced, a file is called obsolete in a durable MANIFEST
//     before it is removed, and its name is not given to a new file until MANIFEST
//     has forgotten it.
//   - A segment on disk that MANIFEST does not list and that continues the last
//     one belongs to the log: rotation does not wait for MANIFEST. With
//     FsyncAlways nothing in it is acknowledged before MANIFEST lists it, so that
//     one which does not continue it (a crash took the end of the one before) may
//     be set aside.
//   - Bytes that the disk did not take stay in memory and are written later, once,
//     where the last write stopped. Meanwhile Begin fails.
//   - After a failed sync, other than of a full disk, nothing is written until
//     the process is restarted. After one of a full disk what was not synced is
//     written again first.
//   - A reader sees whole batches only, and with FsyncAlways synced ones only.
package aof
