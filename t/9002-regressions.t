#!/usr/bin/perl
# SPDX-License-Identifier: BSD-3-Clause
# Bugs that were found and fixed, one subtest each: of a daemon that runs, and of what it keeps over a kill.
use strict;
use warnings;
use lib 't/lib';
use Hearth::Daemon;
use Hearth::Files qw(blocks newest);
use Hearth::Forge qw(directory manifest segment set);
use Hearth::Process qw(program run sanitizer scratch_dir slurp spawn alive wait_until);
use IO::Select;
use Test::More;
use Time::HiRes qw(sleep);

my @still = ('--snapshot-interval', 0, '--snapshot-log-ratio', 0);

# One bug: whatever dies in it, the others are tried too.
sub bug
{
	my ($what, $code) = @_;
	return subtest($what, sub { eval { $code->(); 1 } or fail("it dies: $@"); done_testing(); });
}

sub strace_bug
{
	my (@bug) = @_;
	SKIP: {
		skip "$bug[0]: needs strace", 1 if sanitizer();
		bug(@bug);
	}
	return;
}

# Sends commands that leave no answer, and waits until they are done.
sub quietly { my ($client, @commands) = @_; $client->put(join '', @commands); return $client->ask("version\r\n"); }

# What is answered soon; undef when nothing is.
sub soon
{
	my ($daemon, $command) = @_;
	my $client = $daemon->client->put($command);
	return IO::Select->new($client->socket)->can_read(15) ? $client->line : undef;
}

bug('an idle daemon goes on answering', sub {
	my $expiring = Hearth::Daemon->start(args => [@still]);
	my $client = $expiring->client;
	$client->set('x', 1);
	$client->set('e', 'v', exptime => 1);
	sleep 1.2;
	is($client->get('e'), undef, 'an item expires');
	my $fresh = Hearth::Daemon->start(args => [@still]);
	sleep 4;
	is(soon($fresh, "set a 0 0 1\r\n1\r\n"), 'STORED', 'idle since its start: a set is answered');
	is(soon($expiring, "set a 0 0 1\r\n2\r\n"), 'STORED', 'idle since an expiry: a set is answered');
});

strace_bug('a flush and a set between the start of a snapshot and its scan', sub {
	my @args = (@still, '-m', 8, '-t', 1);
	my $dir = scratch_dir() . '/data';
	my $file = "$dir/snapshot-0000000001";
	# The snapshot's header is written between the two, and is held here for a while.
	my $hold = 'inject=writev:delay_enter=1500000:when=1';
	my $daemon = Hearth::Daemon->start(dir => $dir, args => \@args, prefix => ['strace', '-D', '-f', '-o', '/dev/null',
		'-P', "$file.tmp", '-e', 'trace=writev', '-e', $hold]);
	my $client = $daemon->client;
	$client->set('old', 1);
	kill 'USR2', $daemon->pid;
	wait_until('a snapshot to begin', sub { -e "$file.tmp" });
	sleep 0.3;
	is(-s "$file.tmp", 0, 'its header is held');
	is($client->ask("flush_all\r\n"), 'OK', 'flushed');
	is($client->set('k', 'v'), 'STORED', 'and set');
	wait_until('the snapshot', sub { -e $file });
	$daemon->kill9;

	$daemon = Hearth::Daemon->start(dir => $dir, args => \@args);
	$client = $daemon->client;
	is($client->get('k'), 'v', 'what was set is there');
	is($client->get('old'), undef, 'what was flushed is not');
	# The memory is filled many times over: the region of these items is reclaimed too.
	for my $round (1 .. 200) {
		eval { quietly($client, map { "set f$round-$_ 0 0 100 noreply\r\n" . 'v' x 100 . "\r\n" } 1 .. 1000) } or last;
	}
	ok(alive($daemon->pid) && eval { $client->set('after', 1) eq 'STORED' }, 'the daemon is up when its region is reclaimed');
	is(eval { $daemon->stop } // $@, 0, 'stops in order');
});

# Sets of many sizes over several connections, until memory is full many times over. Returns how many were refused.
sub fill
{
	my ($daemon) = @_;
	my @clients = map { $daemon->client } 1 .. 8;
	my @sizes = (10, 1000, 4000, 9000);
	my $refused = 0;
	for my $round (1 .. 150) {
		for my $client (@clients) {
			my $commands = '';
			for my $n (1 .. 40) {
				my $size = $n == 1 ? 60000 : $sizes[rand @sizes];
				$commands .= 'set k' . int(rand 3000) . " 0 0 $size\r\n" . 'x' x $size . "\r\n";
			}
			$client->put($commands);
		}
		for my $client (@clients) {
			$refused += $client->line ne 'STORED' for 1 .. 40;
		}
	}
	return $refused;
}

bug('-M: memory that was emptied takes new items', sub {
	my $seed = $ENV{HEARTH_SEED} // (time ^ $$ << 8) & 0x7fffffff;
	srand $seed;
	my $daemon = Hearth::Daemon->start(args => [@still, '-m', 8, '-M', '-t', 4]);
	cmp_ok(fill($daemon), '>', 0, "memory is full, seed $seed");
	my @clients = map { $daemon->client } 1 .. 8;
	quietly($clients[0], map { "delete k$_ noreply\r\n" } 0 .. 2999);
	is($clients[0]->stats->{curr_items}, 0, 'all is deleted');
	my %answers;
	$answers{ $clients[$_ % 8]->set("n$_", 'x' x 1000) }++ for 1 .. 200;
	is_deeply(\%answers, { STORED => 200 }, 'and 200 sets succeed, on each thread');
	is($daemon->stop, 0, 'stops in order');
});

bug('a snapshot of many large values', sub {
	my $daemon = Hearth::Daemon->start(args => [@still, '-m', 256, '-t', 2]);
	my $client = $daemon->client;
	my $value = join '', map { chr int rand 256 } 1 .. 500;
	my $stored = grep { $client->set("k$_", ($value x 1000)) eq 'STORED' } 1 .. 150;
	is($stored, 150, '150 values of 500 kB');
	my ($code, $out, $err) = run([program('hearth'), 'snapshot', $daemon->dir]);
	is($code, 0, 'a snapshot of them') or diag $out . $err;
	is($client->stats->{curr_items}, 150, 'all are there');
	$daemon->crash;
	is($daemon->client->stats->{curr_items}, 150, 'and after a kill');
	is($daemon->stop, 0, 'stops in order');
});

# How many of the items k1 to kN are not there with the value of this round.
sub lost
{
	my ($client, $items, $value) = @_;
	my $lost = 0;
	for (my $n = 1; $n <= $items; $n += 500) {
		my $found = $client->items('get ' . join ' ', map { "k$_" } $n .. $n + 499);
		$lost += grep { !$found->{"k$_"} || $found->{"k$_"}{value} ne $value->($_) } $n .. $n + 499;
	}
	return $lost;
}

bug('touches that add an expiry while a snapshot is made', sub {
	my $items = sanitizer() ? 5000 : 20000;
	my $noise = join '', map { chr int rand 256 } 1 .. 4000;
	my $touches = join '', map { "touch k$_ 100000 noreply\r\n" } 1 .. $items;
	my $daemon = Hearth::Daemon->start(args => [@still, '-m', 256, '-t', 2]);
	for my $round (1 .. 3) {
		my $client = $daemon->client;
		my $value = sub { my ($n) = @_; return "$round:$n:" . substr $noise, $n % 2500, 1500; };
		quietly($client, map { my $v = $value->($_); "set k$_ 0 0 " . length($v) . " noreply\r\n$v\r\n" } 1 .. $items);
		my $made = sub { return $client->stats('persist')->{snapshots} };
		kill 'USR2', $daemon->pid;
		wait_until('a snapshot to begin', sub { (my @begun = glob $daemon->dir . '/*.tmp') || $made->() });
		quietly($client, $touches); # while it scans
		wait_until('a snapshot', $made, 60);
		$daemon->crash;
		is(lost($daemon->client, $items, $value), 0, "round $round: all items are there after a kill");
	}
	is($daemon->stop, 0, 'stops in order');
});

# Each key has its value; the first wrong one.
sub wrong
{
	my ($daemon, $values) = @_;
	my $items = $daemon->client->items('get ' . join ' ', sort keys %$values);
	my ($key) = grep { !$items->{$_} || $items->{$_}{value} ne $values->{$_} } sort keys %$values;
	return $key // '';
}

bug('values with memory of their own in a small memory', sub {
	my @args = (@still, '-m', 2, '-I', '100k', '-t', 1);
	my $daemon = Hearth::Daemon->start(args => \@args);
	my $client = $daemon->client;
	my %values = map { ("k$_" => substr "$_:" . join(',', map { $_ * 7 } 1 .. 3000), 0, $_) } 3994, 4000, 4030, 4060, 4090,
	    4096, 4097, 4100, 4500, 6000, 9216;
	my @sets = map { $client->set($_, $values{$_}) } sort keys %values;
	is("@sets", join(' ', ('STORED') x @sets), 'stored');
	is(wrong($daemon, \%values), '', 'as they were set');
	for my $key (sort keys %values) {
		is($client->store('append', $key, '+end'), 'STORED', "$key: appended");
		$values{$key} .= '+end';
	}
	is(wrong($daemon, \%values), '', 'as they were appended to');
	is($client->ask("touch $_ 100000\r\n"), 'TOUCHED', "$_: touched") for sort keys %values;
	is(wrong($daemon, \%values), '', 'as they were, touched');
	$daemon->restart;
	is(wrong($daemon, \%values), '', 'as they were, after a restart');
	$daemon->crash;
	is(wrong($daemon, \%values), '', 'as they were, after a kill');
	is($daemon->stop, 0, 'stops in order');
});
bug('an expiry that was shown stays shown', sub {
	my $daemon = Hearth::Daemon->start(args => [@still]);
	my $client = $daemon->client;
	$client->set('e', 'v', exptime => 50);
	$client->set('f', 'v', exptime => 50);
	is($client->ask("debugtime 100\r\n"), 'OK', 'time passes');
	is($client->get('e'), undef, 'it has expired');
	$daemon->kill9;
	my ($code, $out) = run([program('hearth'), 'dump', '--json', '--key', 'e', $daemon->dir]);
	like($out, qr/"op":"set".*"op":"delete"/s, 'the log says so');
	$daemon->up;
	is($daemon->client->get('e'), undef, 'after a kill too');
	is($daemon->client->get('f'), undef, 'and what nobody looked at, because the log has the time');
});

# Numbers go on far behind the last one after a power cut. Had another one taken the header that tells of it and left a
# block that says all below is durable, the jump would be lost records.
bug('a jump of the numbers is durable only with its header', sub {
	my $dir = directory(
		'log-0000000001' => segment(1, [[set('k', 'v'), 1]]),
		MANIFEST => manifest(segments => [[1]], high_water => 1 << 26),
	);
	my $daemon = Hearth::Daemon->start(dir => $dir, args => [@still, '--fsync', 'os']);
	is($daemon->client->get('k'), 'v', 'what a former boot has logged');
	is($daemon->client->set('new', 'value'), 'STORED', 'is gone on with');
	my $bytes = slurp(newest($dir, 'log'));
	my ($first, $before) = (unpack 'Q<6', substr $bytes, 56, 48)[1, 4];
	cmp_ok($first, '>', 1 << 26, 'the numbers have jumped');
	is($before, 1, 'and the header says from where');
	my @claims = map { unpack 'Q<', substr $bytes, $_->[0] + 40, 8 } blocks($bytes);
	ok(scalar @claims, 'there are blocks');
	is_deeply([grep { $_ > 1 } @claims], [], 'nothing behind that is said to be durable');
	is($daemon->stop, 0, 'stops in order');
});

# A segment begun while no descriptor is left has the boot it is written in: after a power cut one of no boot looked like
# the work of another start, and what was lost before it like damage.
strace_bug('the boot is known without a descriptor', sub {
	my $daemon = Hearth::Daemon->start(args => [@still]);
	my $client = $daemon->client;
	$client->set('k', 'v');
	my $err = scratch_dir() . '/err';
	my $strace = spawn(['strace', '-f', '-o', '/dev/null', '-P', '/proc/sys/kernel/random/boot_id', '-e', 'inject=openat:error=EMFILE',
		'-p', $daemon->pid], err => $err);
	wait_until('strace to attach', sub { -e $err && slurp($err) =~ /attached/ });
	my $first = newest($daemon->dir, 'log');
	is((run(['sh', '-c', program('hearth') . ' backup ' . $daemon->dir . ' --to - >/dev/null']))[0], 0, 'a backup rotates the log');
	$client->set('l', 'w');
	my ($next) = grep { $_ ne $first && -s } glob $daemon->dir . '/log-*';
	my $boot = sub { return unpack 'H32', substr slurp($_[0]), 104, 16 };
	is($boot->($next), $boot->($first), 'into a segment of the same boot');
	kill 'TERM', $strace;
	waitpid $strace, 0;
	is($daemon->stop, 0, 'stops in order');
});

# A touch is a hit for what is shown of an item; one that made room for its expiry first was none.
bug('a touch counts as a hit, whatever it does to the item', sub {
	my $daemon = Hearth::Daemon->start(args => [@still]);
	my $client = $daemon->client;
	for my $ttl ('', ' T50') {
		is($client->ask("ms k 4$ttl\r\ndata\r\n"), 'HD', "an item with '$ttl'");
		is($client->ask("touch k 100\r\n"), 'TOUCHED', 'is touched');
		is($client->ask("mg k h\r\n"), 'HD h1', 'and has been hit');
	}
	is($daemon->stop, 0, 'stops in order');
});

done_testing();
