# SPDX-License-Identifier: BSD-3-Clause
# A daemon of the test's own: own directory, own port, settable clock; stopped in order, killed, started again.
package Hearth::Daemon;
use strict;
use warnings;
use Carp qw(croak);
use Hearth::Client;
use Hearth::Process qw(program scratch_dir spawn reap run slurp nothing_reported wait_until);
use IO::Socket::INET;
use Time::HiRes qw(sleep time);

my $patience = 120;

# A port that is free now, below those the kernel hands out and away from the well-known ones. No other test takes it
# while this one runs, though it is free for a moment between two starts of a daemon: it is claimed on another address.
# Long drivers make thousands of starts: the oldest claims are let go.
my @claims;
my $claims_max = 200;
my $ports = 11000;
# Not by rand: a driver that begins its sequence anew would meet its own claims only. All walk the same circle, so one that
# catches up with another walks past all that the other one claims: it looks at each port before it gives up.
my $step = $$;

sub free_port
{
	for (1 .. $ports) {
		my $port = 20000 + ++$step * 7919 % $ports;
		my $claim = IO::Socket::INET->new(LocalAddr => '127.0.0.77', LocalPort => $port, Listen => 1) or next;
		my $socket = IO::Socket::INET->new(LocalAddr => '127.0.0.1', LocalPort => $port, Listen => 1, ReuseAddr => 1);
		next unless $socket;
		push @claims, $claim;
		shift @claims if @claims > $claims_max;
		return $port;
	}
	croak 'no free port';
}

# Hearth::Daemon->start(dir => 'none' | PATH, args => [...], program => ..., env => {...}); without dir, a new one.
# program may also name memcached: then no option of Hearth's own is passed.
sub start { my ($class, %arg) = @_; return $class->prepare(%arg)->up; }

# The same, but not started.
sub prepare
{
	my ($class, %arg) = @_;
	my $self = bless {
		program => $arg{program} // program('hearthd'),
		args => $arg{args} // [],
		env => $arg{env} // {},
		prefix => $arg{prefix} // [],
		errors => scratch_dir() . '/err',
		unix => $arg{unix},
	}, $class;
	$self->{hearth} = $self->{program} =~ /hearthd$/ ? 1 : 0;
	$self->{dir} = $arg{dir} // scratch_dir() . '/data' if $self->{hearth};
	return $self;
}

# The command line, as of the last start.
sub command
{
	my ($self) = @_;
	my @command = (@{ $self->{prefix} }, $self->{program});
	push @command, $self->{unix} ? ('-s', $self->{unix}) : ('-l', '127.0.0.1', '-p', $self->{port});
	push @command, '--data-dir', $self->{dir}, '--test-commands' if $self->{hearth};
	push @command, '-u', 'root' if $> == 0;
	return (@command, @{ $self->{args} });
}

# Starts it (again) and waits until it answers. args => [...] replaces the options.
sub up
{
	my ($self, %arg) = @_;
	my $code = $self->try_up(%arg);
	croak sprintf '%s ended with %d: %s', join(' ', $self->command), $code, $self->errors if defined $code;
	return $self;
}

# The same where a start may fail: undef once it answers, otherwise its exit code, or 128 + signal.
sub try_up
{
	my ($self, %arg) = @_;
	$self->{args} = $arg{args} if $arg{args};
	for my $try (1 .. 5) {
		$self->{port} = free_port();
		$self->{err_start} = -s $self->{errors} // 0;
		$self->{pid} = spawn([$self->command], err => $self->{errors}, env => $self->{env});
		my $status = $self->wait_ready;
		return undef unless defined $status;
		delete $self->{pid};
		$self->report;
		return $status & 127 ? 128 + ($status & 127) : $status >> 8 unless $status >> 8 == 69 && $try < 5;
	}
}

# undef once it answers; its wait status when it ended instead.
sub wait_ready
{
	my ($self) = @_;
	my $end = time + $patience;
	while (1) {
		my $status = reap($self->{pid}, 0);
		return $status if defined $status;
		my $client = Hearth::Client->new($self->address, quiet => 1);
		if ($client) {
			my $answer = eval { $client->ask("version\r\n") };
			return undef if defined $answer && $answer =~ /^VERSION/;
		}
		if (time > $end) {
			croak "does not answer within $patience s: " . $self->errors;
		}
		sleep 0.004;
	}
}

sub address { my ($self) = @_; return $self->{unix} ? (unix => $self->{unix}) : (port => $self->{port}); }
sub client
{
	my ($self) = @_;
	return Hearth::Client->new($self->address, quiet => 1) // croak "nobody listens: $!: " . $self->errors;
}
sub pid { my ($self) = @_; return $self->{pid}; }
sub port { my ($self) = @_; return $self->{port}; }
sub dir { my ($self) = @_; return $self->{dir}; }

# What it said since the last start.
sub errors
{
	my ($self) = @_;
	return -e $self->{errors} ? substr slurp($self->{errors}), $self->{err_start} : '';
}

sub report { my ($self) = @_; nothing_reported($self->errors); return; }

# A process that overwrites three keys, two with the same number, and takes a snapshot every so many rounds, until it is
# killed: its pid.
sub writer
{
	my ($self, $every) = @_;
	my $pid = fork // die "fork: $!";
	return $pid if $pid;
	my $c = $self->client;
	for (my $i = 1; ; $i++) {
		$c->set('k1', $i);
		$c->set('k2', $i);
		$c->set('k3', 'x' x 5000);
		system join ' ', program('hearth'), 'snapshot', $self->dir, '>/dev/null' if $i % $every == 0;
	}
}

# Waits for its end: exit code, or 128 + signal.
sub ended
{
	my ($self, $seconds) = @_;
	my $status = reap($self->{pid}, $seconds // $patience);
	croak "does not end: " . $self->errors unless defined $status;
	delete $self->{pid};
	$self->report;
	return $status & 127 ? 128 + ($status & 127) : $status >> 8;
}

# TERM, and the exit code.
sub stop { my ($self, $signal) = @_; kill $signal // 'TERM', $self->{pid}; return $self->ended; }
sub kill9 { my ($self) = @_; kill 'KILL', $self->{pid}; return $self->ended; }
sub restart { my ($self, %arg) = @_; $self->stop if $self->{pid}; return $self->up(%arg); }
sub crash { my ($self, %arg) = @_; $self->kill9; return $self->up(%arg); }

# Its thread of a name: log, sync, snapshot, evict, worker-N.
sub thread
{
	my ($self, $name) = @_;
	return wait_until("thread $name", sub {
		for my $task (glob "/proc/$self->{pid}/task/*") {
			open my $f, '<', "$task/comm" or next;
			my $comm = <$f> // '';
			return $task =~ s{.*/}{}r if $comm eq "$name\n";
		}
		return undef;
	}, 30);
}

# Moves its clock. The real clock goes on over a restart; that this one does depends on the log, which learns the time
# with the next record.
sub jump
{
	my ($self, $seconds) = @_;
	my $client = $self->client;
	my $answer = $client->ask("debugtime $seconds\r\n");
	$answer eq 'OK' or croak "debugtime: $answer";
	$client->ask("delete no-such-key\r\n");
	return;
}

# A start that must fail: exit code, messages. Options as given, but a port unless there is one.
sub refused
{
	my ($class, @args) = @_;
	unshift @args, '-p', free_port() unless grep { /^-p/ || /^--port/ || $_ eq '-s' } @args;
	unshift @args, '-u', 'root' if $> == 0 && !grep { $_ eq '-u' || /^--user/ } @args;
	my ($code, $out, $err) = run([program('hearthd'), @args], seconds => 60);
	return ($code, $err, $out);
}

1;
