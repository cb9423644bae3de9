// SPDX-License-Identifier: MIT OR Apache-2.0
// cogo.hpp - cogo for C++17: the same coroutines, with callables for functions and
// destructors for ends. It is no more than this header over cogo.h; what is not here
// is used from there.
//
//	cogo::channel<std::string> lines(16);
//
//	cogo::go([=]() mutable { lines.send(read_line()); lines.close(); });
//	for (std::string &line : lines)
//		...
//
// What cannot be done throws std::system_error with the errno of the C function;
// what waiting can end in (closed, time is up, cancelled) is returned, as in C.
// An exception that leaves a coroutine is a panic of that coroutine.
#ifndef COGO_HPP
#define COGO_HPP

#include "cogo.h"
#include <cerrno>
#include <cstdio>
#include <exception>
#include <memory>
#include <mutex>
#include <new>
#include <optional>
#include <system_error>
#include <tuple>
#include <type_traits>
#include <utility>
#if __has_include("cogo/sync.h")
#include "cogo/sync.h"
#define COGO_HPP_SYNC 1
#endif

namespace cogo {

namespace detail {

inline void must(int r, const char *what)
{
	if (r < 0)
		throw std::system_error(-r, std::generic_category(), what);
}

// Panics outside the handler, so that the exception is gone when the stack goes.
// Cancellations are exceptions too, of a kind that must not be caught.
template <class F> auto panic_for_exceptions(F &f) -> decltype(f())
{
	char message[256];

	try {
		return f();
	} catch (const std::exception &e) {
		std::snprintf(message, sizeof(message), "%s", e.what());
	}
	cogo_panic("%s", message);
}

template <class F> void run(void *arg)
{
	std::unique_ptr<F> f(static_cast<F *>(arg));

	panic_for_exceptions(*f);
}

template <class F> int run_child(void *arg)
{
	std::unique_ptr<F> f(static_cast<F *>(arg));

	if constexpr (std::is_void_v<decltype((*f)())>) {
		panic_for_exceptions(*f);
		return 0;
	} else {
		return panic_for_exceptions(*f);
	}
}

// A callable with its arguments, copied or moved, as std::thread takes them.
template <class F, class... Args> auto bound(F &&f, Args &&...args)
{
	return [f = std::decay_t<F>(std::forward<F>(f)),
		args = std::tuple<std::decay_t<Args>...>(
			std::forward<Args>(args)...)]() mutable {
		return std::apply(std::move(f), std::move(args));
	};
}

} // namespace detail

// A coroutine on its own that calls f(args...).
template <class F, class... Args> void go(F &&f, Args &&...args)
{
	auto call = detail::bound(std::forward<F>(f), std::forward<Args>(args)...);
	using Call = decltype(call);
	auto p = std::make_unique<Call>(std::move(call));

	detail::must(cogo_go(nullptr, nullptr, detail::run<Call>, p.get()),
		     "cogo::go");
	p.release();
}

// One that is waited for: cancelled and joined by its destructor, as std::jthread.
class coroutine {
public:
	coroutine() = default;
	template <class F, class... Args,
		  class = std::enable_if_t<
			  !std::is_same_v<std::decay_t<F>, coroutine>>>
	explicit coroutine(F &&f, Args &&...args)
	{
		auto call = detail::bound(std::forward<F>(f),
					  std::forward<Args>(args)...);
		using Call = decltype(call);
		auto p = std::make_unique<Call>(std::move(call));

		detail::must(cogo_go(&c, nullptr, detail::run<Call>, p.get()),
			     "cogo::coroutine");
		p.release();
	}
	coroutine(coroutine &&other) noexcept
		: c(std::exchange(other.c, nullptr))
	{
	}
	coroutine &operator=(coroutine &&other) noexcept
	{
		std::swap(c, other.c);
		return *this;
	}
	~coroutine()
	{
		if (!c)
			return;
		cogo_cancel(c, ECANCELED);
		cogo_join(c);
	}

	bool joinable() const { return c != nullptr; }
	enum cogo_how join()
	{
		return static_cast<enum cogo_how>(
			cogo_join(std::exchange(c, nullptr)));
	}
	void cancel(int reason = ECANCELED) { cogo_cancel(c, reason); }
	void detach() { cogo_drop(std::exchange(c, nullptr)); }
	cogo_coro *raw() const { return c; }

private:
	cogo_coro *c = nullptr;
};

// Coroutines that do not outlive the block: see cogo/scope.h. A child may return
// nothing, or 0 or a negative errno.
class scope {
public:
	scope() { cogo_scope_begin(&s); }
	scope(const scope &) = delete;
	scope &operator=(const scope &) = delete;
	~scope()
	{
		if (!ended)
			cogo_scope_end(&s);
	}

	template <class F, class... Args> void go(F &&f, Args &&...args)
	{
		auto call = detail::bound(std::forward<F>(f),
					  std::forward<Args>(args)...);
		using Call = decltype(call);
		auto p = std::make_unique<Call>(std::move(call));

		detail::must(cogo_scope_go(&s, nullptr, detail::run_child<Call>,
					   p.get()), "cogo::scope::go");
		p.release();
	}
	void limit(unsigned most) { cogo_scope_limit(&s, most); }
	void cancel(int reason = ECANCELED) { cogo_scope_cancel(&s, reason); }
	// What cogo_scope_end returns. Once.
	int end()
	{
		ended = true;
		return cogo_scope_end(&s);
	}

private:
	cogo_scope s = COGO_SCOPE;
	bool ended = false;
};

// A channel, by reference: copies are the same one. What can be copied byte by byte
// is; of anything else a pointer is sent, and the thing moved.
template <class T> class channel {
	static constexpr bool plain = std::is_trivially_copyable_v<T> &&
				      std::is_default_constructible_v<T>;
	using item = std::conditional_t<plain, T, T *>;

public:
	explicit channel(std::size_t capacity = 0)
		: ch(cogo_chan_new(sizeof(item), capacity), drain)
	{
		if (!ch)
			throw std::bad_alloc();
	}

	// 0, -EPIPE, -ETIMEDOUT, -ECANCELED. What was not sent is gone.
	int send(T value, cogo_time deadline = COGO_FOREVER)
	{
		if constexpr (plain) {
			return cogo_send(ch.get(), &value, deadline);
		} else {
			auto p = std::make_unique<T>(std::move(value));
			T *raw = p.get();
			int r = cogo_send(ch.get(), &raw, deadline);

			if (r == 0)
				p.release();
			return r;
		}
	}
	// Nothing: closed and empty, time is up, cancelled; ret_r, if given, tells.
	std::optional<T> recv(cogo_time deadline = COGO_FOREVER,
			      int *ret_r = nullptr)
	{
		item x{};
		int r = cogo_recv(ch.get(), &x, deadline);

		if (ret_r)
			*ret_r = r;
		if (r)
			return std::nullopt;
		if constexpr (plain) {
			return x;
		} else {
			std::unique_ptr<T> p(x);
			return std::optional<T>(std::move(*p));
		}
	}
	void close() { cogo_chan_close(ch.get()); }
	std::size_t size() const { return cogo_chan_len(ch.get()); }
	std::size_t capacity() const { return cogo_chan_cap(ch.get()); }
	// For a select, of T or, where T is moved, of pointers to it.
	cogo_chan *raw() const { return ch.get(); }

	// Until it is closed and empty, or the coroutine is to end.
	class iterator {
	public:
		iterator() = default;
		explicit iterator(channel *from) : c(from), x(c->recv()) { }
		T &operator*() { return *x; }
		iterator &operator++()
		{
			x = c->recv();
			return *this;
		}
		bool operator!=(const iterator &) const { return x.has_value(); }

	private:
		channel *c = nullptr;
		std::optional<T> x;
	};
	iterator begin() { return iterator(this); }
	iterator end() { return iterator(); }

private:
	// The last reference: nobody waits for what is still in there.
	static void drain(cogo_chan *c)
	{
		if constexpr (!plain) {
			T *x;

			while (c && cogo_try_recv(c, &x) == 0)
				delete x;
		}
		cogo_chan_free(c);
	}
	std::shared_ptr<cogo_chan> ch;
};

#ifdef COGO_HPP_SYNC
// For std::lock_guard, std::unique_lock, std::scoped_lock. Locking one that is
// poisoned throws, with EOWNERDEAD, and leaves it so that nobody gets it again.
class mutex {
public:
	mutex() = default;
	mutex(const mutex &) = delete;
	mutex &operator=(const mutex &) = delete;

	void lock()
	{
		int r = cogo_mutex_lock(&m);

		if (r == -EOWNERDEAD)
			cogo_mutex_unlock(&m);
		detail::must(r, "cogo::mutex::lock");
	}
	bool try_lock()
	{
		int r = cogo_mutex_trylock(&m);

		if (r == -EOWNERDEAD)
			cogo_mutex_unlock(&m);
		if (r != -EBUSY)
			detail::must(r, "cogo::mutex::try_lock");
		return r == 0;
	}
	void unlock() { cogo_mutex_unlock(&m); }
	cogo_mutex *raw() { return &m; }

private:
	cogo_mutex m = {};
};
using lock_guard = std::lock_guard<mutex>;
#endif

} // namespace cogo

#endif
