# SPDX-License-Identifier: BSD-3-Clause
# What the parts of make bench share: the servers by name, each pinned to a core of its own, the load on another, medians,
# and tables of figures (build/bench/*.dat), which the plots and the table of targets are made from.
#
# Servers: floor (t/bench/floor.c), hearth, Debian's memcached and redis; SERVERS="NAME=PROGRAM ..." adds others, which are
# started as what their program's name says: hearthd, redis or valkey, else memcached.
package Hearth::Bench;
use strict;
use warnings;
use Exporter 'import';
use Hearth::Daemon;
use Hearth::Process qw(build_dir program run scratch_dir slurp spew);
use IO::Socket::INET;
use JSON::PP;
use List::Util qw(sum);

our @EXPORT_OK = qw(bench_dir load mean median mem_available pin_load pin_server ratio read_table rss servers start
    version write_table);

my @pin_server = ('taskset', '-c', 0);
my @pin_load = ('taskset', '-c', 1);
sub pin_server { return @pin_server; }
sub pin_load { return @pin_load; }

# ---- servers ----

my @order = qw(floor hearth memcached redis);
my %program = (
	floor => program('floor'), hearth => program('hearthd'),
	memcached => '/usr/bin/memcached', redis => '/usr/bin/redis-server',
);
# Without Perl's words on where it was required.
sub refuse { my ($why) = @_; print STDERR "$why\n"; exit 64; }
for my $word (split ' ', $ENV{SERVERS} // '') {
	my ($name, $path) = $word =~ /^(\w[\w.+-]*)=(.+)$/ or refuse("SERVERS: $word: not NAME=PROGRAM");
	-f $path && -x _ or refuse("SERVERS: $path: no program");
	refuse("SERVERS: $name: there is a server of that name") if $program{$name};
	push @order, $name;
	$program{$name} = $path;
}
for my $name (split /,/, $ENV{HEARTH_SERVERS} // '') {
	refuse("HEARTH_SERVERS: $name: no such server; there are @order") unless $program{$name};
}

sub kind
{
	my ($name) = @_;
	return 'floor' if $name eq 'floor';
	my ($file) = $program{$name} =~ m{([^/]+)$};
	return $file =~ /hearthd/ ? 'hearth' : $file =~ /redis|valkey/ ? 'redis' : 'memcached';
}

# The names of those of some kinds, in the order of the tables; HEARTH_SERVERS=A,B takes these alone.
sub servers
{
	my (@kinds) = @_;
	my %kind = map { $_ => 1 } @kinds;
	my @names = grep { $kind{ kind($_) } } @order;
	return @names unless $ENV{HEARTH_SERVERS};
	my %wanted = map { $_ => 1 } split /,/, $ENV{HEARTH_SERVERS};
	return grep { $wanted{$_} } @names;
}

# What it calls itself, as in "memcached 1.6.45".
sub version
{
	my ($name) = @_;
	return 'floor' if kind($name) eq 'floor';
	my ($code, $out) = run([$program{$name}, '--version']);
	my ($line) = $out =~ /^(.*)/;
	return ($line // '') =~ s/ sha=.*//r =~ s/^(\w+) server v=/$1 /r;
}

# A server that answers: name, kind, port, pid, protocol, and stop (in order), kill9 (and what it kept goes). memory: MiB;
# threads; free: nothing is pinned; before: what stands before its command; args: by kind, hearth => [...]. Hearth and Redis keep a
# log (everysec, which Redis does not rewrite) unless policy says what Redis evicts: then it keeps nothing.
sub start
{
	my ($name, %how) = @_;
	my $kind = kind($name);
	my $self = bless { name => $name, kind => $kind, protocol => $kind eq 'redis' ? 'resp' : 'text', free => $how{free} },
	    'Hearth::Bench::Server';
	my @prefix = ($how{free} ? () : @pin_server, @{ $how{before} // [] });
	my @own = @{ $how{args}{$kind} // [] };
	if ($kind eq 'redis') {
		$self->{dir} = scratch_dir();
		$self->{command} = [@prefix, $program{$name}, '--bind', '127.0.0.1', '--dir', $self->{dir}, '--save', '',
			$how{policy} ? ('--maxmemory', "$how{memory}mb", '--maxmemory-policy', $how{policy})
			    : ('--appendonly', 'yes', '--appendfsync', 'everysec', '--auto-aof-rewrite-percentage', 0), @own];
		return $self->redis_up;
	}
	my @args = $kind eq 'floor' ? @own : ('-m', $how{memory}, '-t', $how{threads} // 4, @own);
	$self->{daemon} = Hearth::Daemon->start(program => $program{$name}, args => \@args, prefix => \@prefix);
	$self->{$_} = $self->{daemon}{$_} for qw(pid port dir);
	return $self;
}

package Hearth::Bench::Server {
	use Hearth::Process qw(reap remove_dir spawn wait_until);

	# Starts a Redis, again too: until it answers, with all that it has loaded.
	sub redis_up
	{
		my ($self) = @_;
		$self->{port} //= Hearth::Daemon::free_port();
		$self->{pid} = spawn([@{ $self->{command} }, '--port', $self->{port}], out => "$self->{dir}/out", err => "$self->{dir}/err");
		wait_until("$self->{name}", sub { defined $self->redis_items }, 600);
		return $self;
	}
	# How many items a Redis has; undef while it loads or is not there.
	sub redis_items
	{
		my ($self) = @_;
		my $socket = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $self->{port}) or return undef;
		print {$socket} "DBSIZE\r\n";
		return (<$socket> // '') =~ /^:(\d+)/ ? $1 : undef;
	}
	sub items { my ($self) = @_; return $self->{daemon} ? $self->stats->{curr_items} : $self->redis_items; }
	sub stats { my ($self) = @_; return $self->{daemon}->client->stats; }
	sub kill_redis { my ($self) = @_; kill 'KILL', $self->{pid}; reap($self->{pid}, 60); return; }
	sub end
	{
		my ($self, $how) = @_;
		$self->{daemon} ? $self->{daemon}->$how : $self->kill_redis;
		remove_dir($self->{dir}) if $self->{dir};
		return;
	}
	sub stop { my ($self) = @_; return $self->end('stop'); }
	sub kill9 { my ($self) = @_; return $self->end('kill9'); }
}

# The tool's bench against a server; its last phase as an object.
sub load
{
	my ($server, @args) = @_;
	my ($code, $out, $err) = run([$server->{free} ? () : @pin_load, program('hearth'), 'bench', '--json', '--server', "127.0.0.1:$server->{port}",
		'--protocol', $server->{protocol}, '--pid', $server->{pid}, @args], seconds => 14400);
	die "bench of $server->{name} with @args: $code $err" if $code;
	return decode_json((split /\n/, $out)[-1]);
}

sub rss { my ($pid) = @_; return slurp("/proc/$pid/status") =~ /^VmRSS:\s+(\d+)/m ? $1 * 1024 : 0; }
sub mem_available { return slurp('/proc/meminfo') =~ /^MemAvailable:\s+(\d+)/m ? $1 * 1024 : 0; }

# ---- figures ----

sub mean { return @_ ? sum(@_) / @_ : undef; }
sub median { my @v = sort { $a <=> $b } @_; return @v % 2 ? $v[@v / 2] : ($v[@v / 2 - 1] + $v[@v / 2]) / 2; }
# Of two figures, as text; a dash where there is none.
sub ratio { my ($a, $b) = @_; return defined $a && $b ? sprintf '%.2f', $a / $b : '-'; }

sub bench_dir { my $dir = build_dir() . '/bench'; -d $dir or mkdir $dir or die "$dir: $!\n"; return $dir; }

# A table of figures: the first column says what a row is, the first row what a column is; undef is no figure. gnuplot reads
# it as it is.
sub write_table
{
	my ($name, $columns, @rows) = @_;
	my $line = sub { return join("\t", map { !defined $_ ? '-' : /^-?[\d.]+(?:e[-+]?\d+)?$/ ? $_ : "\"$_\"" } @_) . "\n" };
	spew(bench_dir() . "/$name.dat", join '', map { $line->(@$_) } $columns, @rows);
	return;
}

# The same again: rows by name, a hash each, and the names of rows and columns in order; nothing when it is not there.
sub read_table
{
	my ($name) = @_;
	my $path = bench_dir() . "/$name.dat";
	return unless -f $path;
	my ($columns, @rows) = map { [map { s/^"|"$//gr } split /\t/] } split /\n/, slurp($path);
	my @columns = @$columns[1 .. $#$columns];
	my %table;
	for my $row (@rows) {
		my ($what, @figures) = @$row;
		$table{$what} = { map { $columns[$_] => $figures[$_] eq '-' ? undef : $figures[$_] } 0 .. $#columns };
	}
	return (\%table, [map { $_->[0] } @rows], \@columns);
}

1;
