// Counts what a program allocates through operator new, which linking this in replaces.
#pragma once

#include <cstddef>

namespace walferry {

// Allocations of all threads since the program started.
std::size_t AllocationCount();

}  // namespace walferry
