// Tested by tests/tools/demo_test.cc
#include "tools/demo_clients.h"

#include <iterator>
#include <random>
#include <utility>

#include "absl/time/clock.h"

namespace walferry {
namespace {

class Dice {
 public:
  Dice(std::uint64_t seed, const ShopSize& size) : random_(seed), size_(size) {}

  std::int64_t Between(std::int64_t low, std::int64_t high) {
    return std::uniform_int_distribution<std::int64_t>(low, high)(random_);
  }
  std::int64_t Customer() { return Between(1, size_.customers); }
  std::int64_t Product() { return Between(1, size_.products); }
  std::int64_t Order() { return Between(1, size_.orders); }
  std::int64_t Any() { return Between(1, std::int64_t{1} << 40); }

 private:
  std::mt19937_64 random_;
  ShopSize size_;
};

std::string InsertOrder(Dice& dice) {
  return absl::StrFormat(
      "with o as (insert into shop.\"Order\" (placed_at, customer_id, \"shipTo\", note) "
      "values (clock_timestamp(), %d, row('Quay ' || %d, 'Port', '1')::shop.address, nullif('note %d', 'note "
      "7')) "
      "returning id, placed_at) "
      "insert into shop.order_line select id, placed_at, n, 1 + (%d + n * 7919) %% %d, n, 9.99 * n "
      "from o, generate_series(1, %d) n",
      dice.Customer(), dice.Between(1, 500), dice.Between(1, 20), dice.Any(), dice.Product(),
      dice.Between(1, 6));
}

std::string PlaceOrder(Dice& dice) {
  const std::int64_t product = dice.Product();
  return absl::StrFormat(
      "begin; %s; update shop.stock set quantity = quantity - 1, changed_at = clock_timestamp() "
      "where product_id between %d and %d; commit",
      InsertOrder(dice), product, product + 2);
}

std::string ShipOrder(Dice& dice) {
  return absl::StrFormat("update shop.\"Order\" set status = 'shipped', note = 'packed by %d' where id = %d",
                         dice.Between(1, 9), dice.Order());
}

std::string ChangeCustomer(Dice& dice) {
  const std::int64_t customer = dice.Customer();
  return absl::StrFormat(
      "update shop.customer set settings = settings || '{\"visits\": %d, \"text\": \"a \\\\ b\"}', "
      "tags = tags || array['seen', null], home = row('New street', null, '%05d')::shop.address, "
      "email = 'customer%d.%d@shop.example' where id = %d",
      dice.Between(1, 100), dice.Between(0, 99999), customer, dice.Any(), customer);
}

std::string ChangePrice(Dice& dice) {
  return absl::StrFormat("update shop.product set price = price + 0.01 * %d where id = %d",
                         dice.Between(1, 50), dice.Product());
}

std::string RewriteManual(Dice& dice) {
  return absl::StrFormat("update shop.product set manual = shop.noise(%d, %d), picture = null where id = %d",
                         dice.Any(), dice.Between(1, 300), dice.Product());
}

std::string WriteReview(Dice& dice) {
  return absl::StrFormat(
      "insert into shop.review (product_id, stars, body) values (%d, %d, shop.noise(%d, %d))", dice.Product(),
      dice.Between(1, 5), dice.Any(), dice.Between(20, 200));
}

std::string ChangeStars(Dice& dice) {
  return absl::StrFormat(
      "update shop.review set stars = %d where id = (select id from shop.review where product_id = %d limit "
      "1)",
      dice.Between(1, 5), dice.Product());
}

std::string DeleteReview(Dice& dice) {
  return absl::StrFormat(
      "delete from shop.review where id = (select id from shop.review where product_id = %d limit 1)",
      dice.Product());
}

// With its lines, by the foreign key.
std::string CancelOrder(Dice& dice) {
  return absl::StrFormat("delete from shop.\"Order\" where id = %d", dice.Order());
}

// Changes the key, and that of its lines by the foreign key; may move it into another partition.
std::string RedateOrder(Dice& dice) {
  return absl::StrFormat("update shop.\"Order\" set placed_at = placed_at + interval '%d days' where id = %d",
                         dice.Between(1, 400), dice.Order());
}

std::string ThinkTwice(Dice& dice) {
  return absl::StrFormat(
      "begin; %s; savepoint twice; update shop.stock set quantity = 0 where product_id <= %d; %s; "
      "rollback to savepoint twice; %s; commit",
      InsertOrder(dice), dice.Between(1, 20), InsertOrder(dice), WriteReview(dice));
}

std::string ThinkBetterOfIt(Dice& dice) {
  return absl::StrFormat("begin; %s; %s; rollback", InsertOrder(dice), RewriteManual(dice));
}

std::string FillCart(Dice& dice) {
  return absl::StrFormat(
      "insert into shop.cart select %d, %d + n from generate_series(1, 3) n on conflict do nothing",
      dice.Customer(), dice.Product());
}

std::string EmptyCarts(Dice&) {
  return "truncate shop.cart";
}

// The table without a key holds duplicates; one of several equal rows changes.
std::string ViewPage(Dice& dice) {
  const std::int64_t page = dice.Between(0, 49);
  return absl::StrFormat(
      "begin; insert into shop.page_view select '/page/%d', 0.5, '2025-01-01 00:00Z' from generate_series(1, "
      "2); "
      "update shop.page_view set seconds = null where ctid = "
      "(select ctid from shop.page_view where page = '/page/%d' limit 1 for update skip locked); "
      "delete from shop.page_view where ctid = "
      "(select ctid from shop.page_view where page = '/page/%d' limit 1 for update skip locked); commit",
      page, page, (page + 1) % 50);
}

std::string CountStock(Dice& dice) {
  const std::int64_t first = dice.Product();
  return absl::StrFormat(
      "update shop.stock set quantity = quantity + 10, changed_at = clock_timestamp() "
      "where product_id between %d and %d",
      first, first + 500);
}

using Action = std::string (*)(Dice&);
constexpr struct {
  int weight;
  Action action;
} kActions[] = {
    {30, PlaceOrder},     {15, ShipOrder},   {10, ChangeCustomer}, {8, ChangePrice},
    {5, RewriteManual},   {10, WriteReview}, {4, ChangeStars},     {3, DeleteReview},
    {3, CancelOrder},     {2, RedateOrder},  {3, ThinkTwice},      {1, EmptyCarts},
    {1, ThinkBetterOfIt}, {2, FillCart},     {2, ViewPage},        {1, CountStock},
};

std::string NextTransaction(Dice& dice) {
  int total = 0;
  for (const auto& entry : kActions) total += entry.weight;
  std::int64_t pick = dice.Between(0, total - 1);
  for (const auto& entry : kActions) {
    pick -= entry.weight;
    if (pick < 0) return entry.action(dice);
  }
  return std::rbegin(kActions)->action(dice);
}

// Two clients at the same row: what every application sees now and then, and tries again.
bool IsBadLuck(const absl::Status& status) {
  const std::string sqlstate = SqlstateOf(status);
  return sqlstate == "40P01" || sqlstate == "40001" || sqlstate == "23503";
}

}  // namespace

DemoClients::DemoClients(std::string conninfo, int clients, std::uint64_t seed, const ShopSize& size,
                         double transactions_per_s)
    : conninfo_(std::move(conninfo)),
      seed_(seed),
      size_(size),
      clients_(clients),
      transactions_per_s_(transactions_per_s) {
  for (int client = 0; client < clients; ++client) threads_.emplace_back([this, client] { Work(client); });
}

DemoClients::~DemoClients() {
  Stop().IgnoreError();
}

absl::Status DemoClients::Stop() {
  stopping_ = true;
  for (std::thread& thread : threads_) thread.join();
  threads_.clear();
  const absl::MutexLock lock(&mutex_);
  return first_error_;
}

void DemoClients::Work(int client) {
  const absl::Status status = WorkUntilStopped(client);
  const absl::MutexLock lock(&mutex_);
  first_error_.Update(status);
}

absl::Status DemoClients::WorkUntilStopped(int client) {
  ConnectOptions options;
  options.conninfo = conninfo_;
  options.application_name = "demo shop";
  WF_ASSIGN_OR_RETURN(Connection connection, Connection::Open(options));
  Dice dice(seed_ + static_cast<std::uint64_t>(client), size_);
  absl::Time next = absl::Now();
  while (!stopping_) {
    const absl::StatusOr<Result> result = connection.Execute(NextTransaction(dice));
    if (!result.ok()) {
      if (!IsBadLuck(result.status())) return Annotate(result.status(), "a client of the shop");
      WF_RETURN_IF_ERROR(connection.Execute("rollback").status());
    }
    ++transactions_;
    next += absl::Seconds(clients_ / transactions_per_s_.load());
    if (const absl::Time now = absl::Now(); next < now) {
      next = now;  // A slow moment is not made up for.
    } else {
      absl::SleepFor(next - now);
    }
  }
  return absl::OkStatus();
}

}  // namespace walferry
